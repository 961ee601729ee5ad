package overlay

import "encoding/base64"

// Key is a public key of WireGuard: a point of Curve25519. The zero value is none.
type Key [32]byte

// ParseKey reads a key as wg(8) writes it, in base64. Errors are ErrConfig.
func ParseKey(text string) (k Key, err error) {
	data, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(data) != len(k) || Key(data) == (Key{}) {
		return Key{}, invalidf("%q is no public key: give what `fairway overlay genkey` or `wg pubkey` prints, 44 letters of base64", text)
	}
	return Key(data), nil
}

func (k Key) String() string { return base64.StdEncoding.EncodeToString(k[:]) }

// IsZero says whether there is no key.
func (k Key) IsZero() bool { return k == Key{} }

// MarshalText implements encoding.TextMarshaler.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. Errors are ErrConfig.
func (k *Key) UnmarshalText(text []byte) (err error) {
	*k, err = ParseKey(string(text))
	return err
}
