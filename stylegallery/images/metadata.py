"""XMP metadata of written files: creator tool, "made with AI" mark and rights."""

from typing import Final
from xml.sax.saxutils import escape

from schemas.text import one_line

_MADE_WITH_AI: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_PACKET: Final = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">
   <xmp:CreatorTool>StyleGallery</xmp:CreatorTool>
   <Iptc4xmpExt:DigitalSourceType>{source}</Iptc4xmpExt:DigitalSourceType>{rights}
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""
_MOST_RIGHTS: Final = 50_000
_RIGHTS: Final = """
   <dc:rights><rdf:Alt><rdf:li xml:lang="x-default">{text}</rdf:li></rdf:Alt></dc:rights>"""


def xmp_packet(rights: str) -> bytes:
    """Return an XMP packet (UTF-8) for a restyled picture; equal rights give equal bytes.

    It holds the tool's name, the rights (if any) and the IPTC digital source type for output of
    trained models, which shops and search engines require.
    """
    shown = _RIGHTS.format(text=escape(one_line(rights, _MOST_RIGHTS))) if rights else ""
    return _PACKET.format(source=_MADE_WITH_AI, rights=shown).encode()
