"""What is needed of JAX, XLA and the file system: precision, compiler options, self-test, whole files."""
