package record

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"net/netip"
)

// anonymiser replaces addresses. Under one key, an address always becomes the same other one of its family, and no two
// become the same. The key is made at the start and lives in memory only.
type anonymiser struct {
	block cipher.Block
}

func newAnonymiser() (*anonymiser, error) {
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		return nil, err
	}
	return anonymiserOf(key[:])
}

func anonymiserOf(key []byte) (*anonymiser, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return &anonymiser{block}, nil
}

// rounds of the Feistel network over the 32 bits of an IPv4 address.
const rounds = 10

func (a *anonymiser) replace(address netip.Addr) netip.Addr {
	if address.Is6() {
		b := address.As16()
		a.block.Encrypt(b[:], b[:])
		return netip.AddrFrom16(b)
	}
	b := address.As4()
	left, right := binary.BigEndian.Uint16(b[:]), binary.BigEndian.Uint16(b[2:])
	for round := range rounds {
		var in [aes.BlockSize]byte
		in[0] = byte(round)
		binary.BigEndian.PutUint16(in[2:], right)
		a.block.Encrypt(in[:], in[:])
		left, right = right, left^binary.BigEndian.Uint16(in[:])
	}
	binary.BigEndian.PutUint16(b[:], left)
	binary.BigEndian.PutUint16(b[2:], right)
	return netip.AddrFrom4(b)
}
