"""Artistic style: a picture with one picture's content and the style of others."""
