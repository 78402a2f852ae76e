//! What models are asked.

#[cfg(test)]
mod tests;
