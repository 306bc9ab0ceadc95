"""Colors: CIE Lab, histograms, and color transfer by region."""
