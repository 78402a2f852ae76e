//! Which instructions this machine has, decided once.
