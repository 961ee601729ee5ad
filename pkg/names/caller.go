package names

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Caller is a connection to the resolver. Calls are acted on in their order.
type Caller struct {
	fd     int
	path   string
	unread int // answers that nobody has waited for
}

// Call connects to the resolver. The error wraps ErrNoResolver when there is none.
func (d Directory) Call() (*Caller, error) {
	const patience = 10 // seconds
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket to the resolver: %w", err)
	}
	limit := unix.Timeval{Sec: patience}
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit))
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: d.Socket()})
	}
	if err == nil {
		return &Caller{fd: fd, path: d.Socket()}, nil
	}
	unix.Close(fd)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, fmt.Errorf("%s: %w", d.Socket(), ErrNoResolver)
	}
	return nil, fmt.Errorf("%s: %w", d.Socket(), err)
}

// Close ends the connection. Calls that were sent are acted on.
func (c *Caller) Close() { unix.Close(c.fd) }

// Adopt hands over the sockets of a namespace. The descriptors stay the caller's.
func (c *Caller) Adopt(n Netns, udp, tcp int) error {
	return c.send(formatAdopt(n), unix.UnixRights(udp, tcp))
}

// Tell tells of an owner's record that was put or removed.
func (c *Caller) Tell(o Owner) error { return c.send(o.file(), nil) }

func (c *Caller) send(text string, rights []byte) error {
	err := unix.Sendmsg(c.fd, []byte(text), rights, nil, unix.MSG_NOSIGNAL)
	switch {
	case errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET):
		return fmt.Errorf("%s: %w", c.path, ErrNoResolver)
	case err != nil:
		return fmt.Errorf("%s: %w", c.path, err)
	}
	c.unread++
	return nil
}

// Wait waits until all calls were acted on. The error wraps ErrNoResolver when the resolver ended before.
func (c *Caller) Wait() error {
	var errs []error
	for c.unread > 0 {
		switch answer, err := c.read(); {
		case err != nil:
			return err
		case answer != Done:
			errs = append(errs, fmt.Errorf("resolver: %s", answer))
		}
	}
	return errors.Join(errs...)
}

// read waits for one answer.
func (c *Caller) read() (string, error) {
	answer := make([]byte, MaxAnswer)
	n, err := unix.Read(c.fd, answer)
	for errors.Is(err, unix.EINTR) {
		n, err = unix.Read(c.fd, answer)
	}
	c.unread--
	switch {
	case err == nil && n == 0, errors.Is(err, unix.ECONNRESET):
		return "", fmt.Errorf("%s: %w", c.path, ErrNoResolver)
	case err != nil:
		return "", fmt.Errorf("%s: %w", c.path, err)
	}
	return string(answer[:n]), nil
}

// Tell tells the resolver of an owner's record that was put or removed, and waits until it has acted on that. The error wraps
// ErrNoResolver when there is none.
func (d Directory) Tell(o Owner) error { return d.say(o.file()) }

// TellToLeave asks a temporary resolver to end.
func (d Directory) TellToLeave() error { return d.say(Leave) }

// TellToRelease asks the resolver for the end of what it holds of containers that have gone: its sockets keep their namespaces.
func (d Directory) TellToRelease() error { return d.say(Release) }

func (d Directory) say(text string) error {
	c, err := d.Call()
	if err != nil {
		return err
	}
	defer c.Close()
	return errors.Join(c.send(text, nil), c.Wait())
}

// Lookup asks the resolver what is called by a name on a network, or for the names of an address: what a container there is told, of
// other hosts, too. Nobody is called so: nothing is found. The error wraps ErrNoResolver when there is none.
func (d Directory) Lookup(network, name string) (found []string, err error) {
	c, err := d.Call()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.send(lookup+network+" "+name, nil); err != nil {
		return nil, err
	}
	answer, err := c.read()
	if err != nil {
		return nil, err
	}
	lines := strings.Split(answer, "\n") // which no name holds
	if lines[0] != Done {
		return nil, fmt.Errorf("resolver: %s", answer)
	}
	return lines[1:], nil
}

// lookup begins the call by which a name is looked up: a network's has no spaces.
const lookup = "lookup "

// ParseLookup reads the call by which a name is looked up.
func ParseLookup(text string) (network, name string, ok bool) {
	rest, ok := strings.CutPrefix(text, lookup)
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, " ")
}

// adopt begins the call by which sockets are handed over, which names the namespace.
const adopt = "adopt "

func formatAdopt(n Netns) string {
	return fmt.Sprintf("%s%d %d %d %s", adopt, n.Dev, n.Inode, n.Cookie, n.Path)
}

// ParseAdopt reads the call by which sockets are handed over.
func ParseAdopt(text string) (n Netns, ok bool) {
	rest, ok := strings.CutPrefix(text, adopt)
	if !ok {
		return n, false
	}
	parts := strings.SplitN(rest, " ", 4)
	if len(parts) != 4 {
		return n, false
	}
	n.Path = parts[3]
	for i, number := range []*uint64{&n.Dev, &n.Inode, &n.Cookie} {
		var err error
		if *number, err = strconv.ParseUint(parts[i], 10, 64); err != nil {
			return n, false
		}
	}
	return n, n.Path != ""
}
