"""Measures Penstock, alone and beside its peers. Nothing here is part of the product."""
