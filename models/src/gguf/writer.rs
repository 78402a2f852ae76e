//! Writes small GGUF files in memory, for tests and generated models.

/// Alignment of tensor data. It is the format's default, so the file does not state it.
const ALIGNMENT: usize = 32;
const VERSION: u32 = 3;

/// Collects metadata and tensors. Nothing is checked, so that tests can also write damaged files.
#[derive(Debug, Default, Clone)]
pub struct Writer {
    metadata: Vec<u8>,
    entries: u64,
    table: Vec<u8>,
    tensors: u64,
    data: Vec<u8>,
}

impl Writer {
    /// A file without metadata or tensors.
    pub fn new() -> Writer {
        Writer::default()
    }

    /// Adds a metadata entry: a number, a boolean, a string, or a slice of these.
    pub fn set<T: Encode + ?Sized>(&mut self, key: &str, value: &T) -> &mut Writer {
        key.encode(&mut self.metadata);
        T::TYPE.encode(&mut self.metadata);
        value.encode(&mut self.metadata);
        self.entries += 1;
        self
    }

    /// Adds a tensor. `shape[0]` is the row length, `data` its blocks.
    pub fn tensor(&mut self, name: &str, shape: &[u64], ggml_type: u32, data: &[u8]) -> &mut Writer {
        name.encode(&mut self.table);
        (shape.len() as u32).encode(&mut self.table);
        for dim in shape {
            dim.encode(&mut self.table);
        }
        ggml_type.encode(&mut self.table);
        (self.data.len() as u64).encode(&mut self.table);
        self.data.extend_from_slice(data);
        self.data.resize(self.data.len().next_multiple_of(ALIGNMENT), 0);
        self.tensors += 1;
        self
    }

    /// The bytes of the finished file.
    pub fn finish(&self) -> Vec<u8> {
        let mut file = Vec::with_capacity(64 + self.metadata.len() + self.table.len() + self.data.len());
        file.extend_from_slice(b"GGUF");
        VERSION.encode(&mut file);
        self.tensors.encode(&mut file);
        self.entries.encode(&mut file);
        file.extend_from_slice(&self.metadata);
        file.extend_from_slice(&self.table);
        if !self.data.is_empty() {
            file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
            file.extend_from_slice(&self.data);
        }
        file
    }
}

/// Types that can be written as metadata values.
pub trait Encode {
    /// The type's number in the format.
    const TYPE: u32;
    /// Appends the value's bytes to `out`.
    fn encode(&self, out: &mut Vec<u8>);
}

macro_rules! numbers {
    ($($number:ty: $id:literal),*) => {$(
        impl Encode for $number {
            const TYPE: u32 = $id;
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}

numbers!(u8: 0, i8: 1, u16: 2, i16: 3, u32: 4, i32: 5, f32: 6, u64: 10, i64: 11, f64: 12);

impl Encode for bool {
    const TYPE: u32 = 7;
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

impl Encode for str {
    const TYPE: u32 = 8;
    fn encode(&self, out: &mut Vec<u8>) {
        (self.len() as u64).encode(out);
        out.extend_from_slice(self.as_bytes());
    }
}

impl Encode for &str {
    const TYPE: u32 = 8;
    fn encode(&self, out: &mut Vec<u8>) {
        str::encode(self, out);
    }
}

impl Encode for String {
    const TYPE: u32 = 8;
    fn encode(&self, out: &mut Vec<u8>) {
        str::encode(self, out);
    }
}

impl<T: Encode> Encode for [T] {
    const TYPE: u32 = 9;
    fn encode(&self, out: &mut Vec<u8>) {
        T::TYPE.encode(out);
        (self.len() as u64).encode(out);
        for element in self {
            element.encode(out);
        }
    }
}

impl<T: Encode, const N: usize> Encode for [T; N] {
    const TYPE: u32 = 9;
    fn encode(&self, out: &mut Vec<u8>) {
        self.as_slice().encode(out);
    }
}

impl<T: Encode> Encode for Vec<T> {
    const TYPE: u32 = 9;
    fn encode(&self, out: &mut Vec<u8>) {
        self.as_slice().encode(out);
    }
}
