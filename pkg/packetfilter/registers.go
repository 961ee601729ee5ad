package packetfilter

import "golang.org/x/sys/unix"

// registers are the sixty-four bytes that a rule computes with. They are numbered by sixteen bytes, or by four
// (linux/netfilter/nf_tables.h, enum nft_registers).
type registers [64]cell

// offset is where a register begins, or -1 for the verdict's and for one that there is none of.
func offset(register uint32) int {
	switch {
	case register >= unix.NFT_REG_1 && register <= unix.NFT_REG_4:
		return int(register-unix.NFT_REG_1) * 16
	case register >= unix.NFT_REG32_00 && register <= unix.NFT_REG32_15:
		return int(register-unix.NFT_REG32_00) * 4
	}
	return -1
}

// load fills a register. The rest of the last four bytes is zero.
func (r *registers) load(register uint32, cells []cell) {
	at := offset(register)
	if at < 0 {
		return
	}
	padded := append(append([]cell{}, cells...), known(make([]byte, (4-len(cells)%4)%4))...)
	copy(r[at:], padded)
}

// read gives what a register holds.
func (r *registers) read(register uint32, length int) []cell {
	at := offset(register)
	if at < 0 || at+length > len(r) {
		return unknown(length)
	}
	return append([]cell{}, r[at:at+length]...)
}
