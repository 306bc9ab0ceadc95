"""Color: CIE Lab, histogram matching and color transfer by region."""
