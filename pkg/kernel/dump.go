package kernel

import (
	"errors"

	"github.com/vishvananda/netlink"
)

// Dump lists kernel objects, and does so again when something changed meanwhile: the kernel then says that objects may be
// missing from the list (NLM_F_DUMP_INTR).
func Dump[T any](list func() ([]T, error)) (objects []T, err error) {
	const tries = 32
	for range tries {
		if objects, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) && !errors.Is(err, ErrInterrupted) {
			break
		}
	}
	return objects, err
}
