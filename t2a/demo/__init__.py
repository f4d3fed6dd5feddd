"""The whole way in one command: real sounds, a language model and a diffusion model, what both make, a report."""
