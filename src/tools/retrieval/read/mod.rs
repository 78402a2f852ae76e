//! Takes the text out of HTML and PDF.

pub(super) mod html;
pub(super) mod pdf;
#[cfg(test)]
mod tests;
