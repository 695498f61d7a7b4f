"""The model: denoiser, solvers, guidance, and the pipeline that ships them."""
