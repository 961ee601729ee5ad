package hostlocal

import (
	"errors"
	"fmt"
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
	// ErrNotReserved: the owner holds no address.
	ErrNotReserved = errors.New("no address reserved")
)

// A problem is one sentence for the person who can solve it. Its kind is for
// errors.Is and errors.As only, so that the sentence stays one.
type problem struct {
	kind error
	text string
}

func (p *problem) Error() string { return p.text }
func (p *problem) Unwrap() error { return p.kind }

func problemf(kind error, format string, args ...any) error {
	return &problem{kind: kind, text: fmt.Sprintf(format, args...)}
}

func invalidf(format string, args ...any) error {
	return problemf(ErrConfig, format, args...)
}
