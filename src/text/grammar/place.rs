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
    /// Bytes of the number so far, and of its exponent.
    pub number_bytes: u32,
    pub exponent_bytes: u32,
    /// A value, or a key, ended just now.
    pub after_value: bool,
    /// Something was written.
    pub begun: bool,
    /// The last bracket was closed.
    closed: bool,
}

impl Place {
    /// The place behind `byte`.
    pub fn behind(mut self, byte: u8) -> Self {
        self.begun |= byte != b' ';
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
        (self.number_bytes, self.exponent_bytes) = match (in_number, self.in_number) {
            (false, _) => (0, 0),
            (true, false) => (1, 0),
            (true, true) => {
                let in_exponent = self.exponent_bytes > 0 || b"eE".contains(&byte);
                (self.number_bytes + 1, self.exponent_bytes + u32::from(in_exponent))
            }
        };
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
