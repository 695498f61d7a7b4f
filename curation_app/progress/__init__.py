"""How far curating is, as figures and plots."""
