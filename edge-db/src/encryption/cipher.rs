//! What encrypts and decrypts pieces of a database, or a data key.

use std::fmt;
use std::io;
use std::sync::Arc;

use chacha20poly1305::aead::Generate;
use chacha20poly1305::{AeadInOut, KeyInit, Tag, XChaCha20Poly1305, XNonce};

use super::{Place, SEAL_BYTES};

const NONCE_BYTES: usize = 24;

/// XChaCha20-Poly1305 with one key. Shared by clones; the key is gone from memory with the last.
#[derive(Clone)]
pub(crate) struct Cipher(Arc<XChaCha20Poly1305>);

impl Cipher {
    pub(crate) fn new(key: &[u8; 32]) -> Cipher {
        Cipher(Arc::new(XChaCha20Poly1305::new(key.into())))
    }

    /// Encrypts in place, and gives nonce and tag.
    ///
    /// Nonces have 192 bits and are random: no counter need survive a crash, a copy or a restore,
    /// and even after 2^80 of them two are the same with a chance below 2^-32.
    pub(crate) fn encrypt(&self, place: Place, bytes: &mut [u8]) -> io::Result<[u8; SEAL_BYTES]> {
        self.encrypt_for(&place.bytes(), bytes)
    }

    /// Decrypts in place; false, and as it was, if it is not what was encrypted for this place.
    #[must_use]
    pub(crate) fn decrypt(&self, place: Place, bytes: &mut [u8], seal: &[u8; SEAL_BYTES]) -> bool {
        self.decrypt_for(&place.bytes(), bytes, seal)
    }

    /// Decrypts in place what need not be what was encrypted: each byte that is comes out right, if
    /// the nonce is right, too. Nothing vouches for any of them.
    pub(crate) fn decrypt_unproven(&self, bytes: &mut [u8], seal: &[u8; SEAL_BYTES]) {
        let (nonce, _) = parts(seal);
        // Encrypting and decrypting are one: the same stream, XOR. The tag that comes out is of no
        // use, and an error leaves bytes that nobody trusts anyway.
        let _tag = self.0.encrypt_inout_detached(&nonce, &[], bytes.into());
    }

    pub(super) fn encrypt_for(
        &self,
        place: &[u8],
        bytes: &mut [u8],
    ) -> io::Result<[u8; SEAL_BYTES]> {
        let nonce = XNonce::try_generate().map_err(io::Error::other)?;
        let tag = self.0.encrypt_inout_detached(&nonce, place, bytes.into());
        let tag = tag.map_err(io::Error::other)?;
        let mut seal = [0; SEAL_BYTES];
        seal[..NONCE_BYTES].copy_from_slice(&nonce);
        seal[NONCE_BYTES..].copy_from_slice(&tag);
        Ok(seal)
    }

    pub(super) fn decrypt_for(
        &self,
        place: &[u8],
        bytes: &mut [u8],
        seal: &[u8; SEAL_BYTES],
    ) -> bool {
        let (nonce, tag) = parts(seal);
        self.0.decrypt_inout_detached(&nonce, place, bytes.into(), &tag).is_ok()
    }
}

fn parts(seal: &[u8; SEAL_BYTES]) -> (XNonce, Tag) {
    let (nonce, tag) = seal.split_at(NONCE_BYTES);
    let nonce = XNonce::try_from(nonce).expect("24 bytes");
    (nonce, Tag::try_from(tag).expect("the 16 bytes behind"))
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cipher").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn piece_decrypts_at_its_place_only() {
        let cipher = Cipher::new(&[7; 32]);
        let places = [
            Place::Block(1),
            Place::Block(2),
            Place::Record(1),
            Place::Frame { revision: 1, number: 0 },
            Place::Frame { revision: 1, number: 1 },
        ];
        for place in places {
            let mut bytes = *b"what is stored";
            let seal = cipher.encrypt(place, &mut bytes).unwrap();
            assert_ne!(&bytes, b"what is stored");
            for other in places.into_iter().filter(|other| *other != place) {
                assert!(!cipher.decrypt(other, &mut bytes, &seal), "{place:?} at {other:?}");
            }
            assert!(!Cipher::new(&[8; 32]).decrypt(place, &mut bytes, &seal));
            assert!(cipher.decrypt(place, &mut bytes, &seal));
            assert_eq!(&bytes, b"what is stored");
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let cipher = Cipher::new(&[7; 32]);
        let mut whole = b"in the clear: what is stored".to_vec();
        cipher.encrypt_behind(14, Place::Record(3), &mut whole).unwrap();
        let open = |bytes: &[u8]| cipher.decrypt_all(Place::Record(3), bytes[14..].to_vec());
        assert_eq!(open(&whole).unwrap(), b"what is stored");
        for bit in 14 * 8..whole.len() * 8 {
            whole[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&whole), None, "bit {bit}");
            whole[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(open(&whole[..40]), None);
    }

    #[test]
    fn unproven_bytes_are_right_where_they_were_not_altered() {
        let cipher = Cipher::new(&[7; 32]);
        let mut bytes = *b"what is stored";
        let mut seal = cipher.encrypt(Place::Block(1), &mut bytes).unwrap();
        bytes[3] ^= 0x20;
        seal[NONCE_BYTES] ^= 1;
        cipher.decrypt_unproven(&mut bytes, &seal);
        assert_eq!(&bytes, b"whaT is stored");
    }

    /// From draft-irtf-cfrg-xchacha-03, A.3.1: so that the format is the one that it says it is.
    #[test]
    fn cipher_is_the_one_of_the_draft() {
        let key: [u8; 32] = std::array::from_fn(|n| 0x80 + u8::try_from(n).unwrap());
        let place = [0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7];
        let mut seal = [0; SEAL_BYTES];
        seal[..24].copy_from_slice(&std::array::from_fn::<u8, 24, _>(|n| {
            0x40 + u8::try_from(n).unwrap()
        }));
        seal[24..].copy_from_slice(&[
            0xc0, 0x87, 0x59, 0x24, 0xc1, 0xc7, 0x98, 0x79, 0x47, 0xde, 0xaf, 0xd8, 0x78, 0x0a,
            0xcf, 0x49,
        ]);
        let mut bytes =
            *b"Ladies and Gentlemen of the class of '99: If I could offer you only one \
            tip for the future, sunscreen would be it.";
        let cipher = Cipher::new(&key);
        let nonce = XNonce::try_from(&seal[..24]).unwrap();
        let tag = cipher.0.encrypt_inout_detached(&nonce, &place, bytes.as_mut_slice().into());
        assert_eq!(tag.unwrap().as_slice(), &seal[24..]);
        assert!(bytes.starts_with(&[0xbd, 0x6d, 0x17, 0x9d, 0x3e, 0x83, 0xd4, 0x3b]));
        assert!(cipher.decrypt_for(&place, &mut bytes, &seal));
        assert!(bytes.starts_with(b"Ladies"));
    }
}
