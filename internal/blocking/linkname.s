// With a file of this kind, functions without a body may be declared.
