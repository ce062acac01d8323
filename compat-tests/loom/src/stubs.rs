//! What the files under test import, as far as they need it: jobs of a few bytes that nobody reads.

pub(crate) mod payload {
    pub(crate) const LARGE: usize = 1 << 17;

    pub(crate) struct Payload;
    pub(crate) struct Malformed;
    pub(crate) struct Edits;
    pub(crate) struct Fetched(Vec<u8>);

    impl Fetched {
        pub(crate) fn new(bytes: Vec<u8>) -> Self {
            Self(bytes)
        }

        pub(crate) fn bytes(&self) -> &[u8] {
            &self.0
        }

        pub(crate) fn payload(&self) -> Result<Payload, Malformed> {
            Err(Malformed)
        }

        pub(crate) fn edits(&self, _payload: Option<&Payload>) -> Option<Edits> {
            None
        }
    }

    impl Edits {
        pub(crate) fn pieces(&self) -> &[u8] {
            &[]
        }
    }
}

pub(crate) mod memory {
    pub(crate) struct Memory;
    pub(crate) struct Portion;

    impl Memory {
        pub(crate) fn hold(&self, _bytes: usize) -> Portion {
            Portion
        }
    }

    impl Portion {
        pub(crate) fn bytes(&self) -> usize {
            0
        }
    }
}

pub(crate) mod settle {
    pub(crate) struct Leaving<'a> {
        pub(crate) number: u64,
        pub(crate) list: Option<&'a str>,
        pub(crate) raw: &'a [u8],
        pub(crate) bytes: &'a [u8],
        pub(crate) delay: f64,
    }
}

pub(crate) mod in_place {
    pub(crate) struct InPlace<'a> {
        pub(crate) number: u64,
        pub(crate) epoch: u64,
        pub(crate) list: &'a str,
        pub(crate) raw: &'a [u8],
        pub(crate) pieces: &'a [u8],
        pub(crate) delay: f64,
    }
}
