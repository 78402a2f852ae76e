//! Where in a JSON text a sequence is, byte by byte.

/// Where in a JSON text a sequence is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Brackets that are open.
    pub depth: u32,
    pub in_string: bool,
    /// Behind a backslash.
    pub escaped: bool,
    pub in_number: bool,
    pub number_bytes: u32,
    pub exponent_digits: u32,
    in_exponent: bool,
    /// A value, or a key, ended just now.
    pub after_value: bool,
    /// Something was written.
    pub begun: bool,
    /// All of it is one number.
    pub all_number: bool,
    /// The last bracket was closed.
    closed: bool,
}

impl Place {
    /// The place behind `byte`.
    pub fn behind(mut self, byte: u8) -> Self {
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
        }
        self.number_bytes += u32::from(in_number);
        self.in_exponent |= in_number && b"eE".contains(&byte);
        self.exponent_digits += u32::from(self.in_exponent && byte.is_ascii_digit());
        self.all_number = in_number && (is_first || self.all_number);
        self.in_number = in_number;
        self.after_value = in_number || byte.is_ascii_alphabetic();
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                (self.after_value, self.closed) = (true, self.depth == 0);
            }
            _ => {}
        }
        self
    }

    /// Outside of all brackets and strings.
    pub fn is_outside(&self) -> bool {
        self.depth == 0 && !self.in_string
    }

    /// Right behind the bracket that closes all.
    pub fn is_closed(&self) -> bool {
        self.closed && self.is_outside()
    }
}
