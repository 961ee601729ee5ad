package hostlocal

import (
	"errors"

	"github.com/fairway-cni/fairway/pkg/failure"
)

// The kinds of errors, for errors.Is. Errors of the operating system
// (fs.PathError) and of encoding/json (SyntaxError, UnmarshalTypeError) stay
// matchable as well.
var (
	// ErrConfig: a key or a requested address is not usable.
	ErrConfig = errors.New("invalid IPAM configuration")
	// ErrOwner: the container ID or interface name is not usable.
	ErrOwner = errors.New("invalid owner of an address")
	// ErrReserved: the requested address belongs to another owner.
	ErrReserved = errors.New("address reserved by another owner")
	// ErrExhausted: a range set has no free address.
	ErrExhausted = errors.New("no free address")
	// ErrBusy: another process held the lock for too long.
	ErrBusy = errors.New("lock of the network is busy")
	// ErrNotReserved: the owner does not hold the address.
	ErrNotReserved = errors.New("no address reserved")
)

func invalidf(format string, args ...any) error {
	return failure.Of(ErrConfig, format, args...)
}
