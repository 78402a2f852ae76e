//! Tracks where in a JSON text a sequence is, byte by byte: inside a string, a name or a number, and how deep. The text
//! is assumed to be valid JSON, since a grammar enforces it.

use super::multiples::NumberPrefix;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct JsonPosition {
    /// Number of open brackets.
    pub depth: u32,
    pub in_string: bool,
    /// Whether the string is a property's name.
    pub is_name: bool,
    /// Whether the last byte was a backslash that escapes the next one.
    pub escaped: bool,
    pub in_number: bool,
    pub number_bytes: u32,
    /// The part of the number that is written.
    pub number: NumberPrefix,
    pub exponent_digits: u32,
    in_exponent: bool,
    /// Whether a value or a name has just ended.
    pub after_value: bool,
    /// Whether anything but spaces was written.
    pub begun: bool,
    /// Whether the whole text so far is one number.
    pub is_only_number: bool,
    /// Whether a property's name may begin here.
    before_name: bool,
    /// One bit for each of the innermost 128 open brackets, the innermost lowest: whether it is an object's.
    objects: u128,
    /// Whether the outermost bracket has just been closed.
    closed: bool,
}

impl JsonPosition {
    pub(crate) fn after(mut self, byte: u8) -> Self {
        let is_first = !self.begun && byte != b' ';
        self.begun |= is_first;
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => (self.in_string, self.after_value) = (false, true),
                _ => {}
            }
            return self;
        }
        let in_number = byte.is_ascii_digit() || byte == b'-' || (self.in_number && b".eE+".contains(&byte));
        if !in_number || !self.in_number {
            (self.number_bytes, self.exponent_digits, self.in_exponent) = (0, 0, false);
            self.number = NumberPrefix::default();
        }
        self.number_bytes += u32::from(in_number);
        if in_number {
            self.number = self.number.push(byte);
        }
        self.in_exponent |= in_number && b"eE".contains(&byte);
        self.exponent_digits += u32::from(self.in_exponent && byte.is_ascii_digit());
        self.is_only_number = in_number && (is_first || self.is_only_number);
        self.in_number = in_number;
        self.after_value = in_number || byte.is_ascii_alphabetic();
        match byte {
            b'"' => (self.in_string, self.is_name) = (true, self.before_name),
            b'{' | b'[' => {
                self.depth += 1;
                self.objects = self.objects << 1 | u128::from(byte == b'{');
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.objects >>= 1;
                (self.after_value, self.closed) = (true, self.depth == 0);
            }
            _ => {}
        }
        if byte != b' ' {
            self.before_name = byte == b'{' || (byte == b',' && self.objects & 1 == 1);
        }
        self
    }

    pub(crate) fn is_outside(&self) -> bool {
        self.depth == 0 && !self.in_string
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed && self.is_outside()
    }
}
