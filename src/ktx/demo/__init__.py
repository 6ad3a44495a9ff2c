"""A demo project on real data, made offline."""
