"""The whole way in one command: real sounds, a codec, a language model, generated clips, a report."""
