package kernel

import (
	"errors"

	"github.com/vishvananda/netlink"
)

// Dump lists kernel objects, and does so again when something changed meanwhile.
func Dump[T any](list func() ([]T, error)) ([]T, error) { return Retry(list) }

// Retry does again what listed kernel objects while something changed: the kernel then says that objects may be missing
// from the list (NLM_F_DUMP_INTR).
func Retry[T any](list func() (T, error)) (found T, err error) {
	const tries = 32
	for range tries {
		if found, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) && !errors.Is(err, ErrInterrupted) {
			break
		}
	}
	return found, err
}
