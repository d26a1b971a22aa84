"""A shop's additions to mal-tf, a module each, named in its config by import path."""
