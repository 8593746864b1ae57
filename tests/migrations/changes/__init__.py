"""Random changes of models: what they are, how a service carries them out, and what must hold."""
