package hostlocal

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The attribute of a reservation's file that says what it was made for. As part
// of the file it appears and vanishes with it, and upstream does not see it.
// tmpfs has user attributes since Linux 6.6 and trusted ones, for root, long before.
const (
	userAttribute    = "user.fairway.holder"
	trustedAttribute = "trusted.fairway.holder"
	recordMax        = 4096 + 512 // PATH_MAX and what stands before it
)

// Netns is the network namespace of an attachment, as the caller of Add knows it.
type Netns struct {
	// Mark identifies it by what the kernel gives to no other namespace, in a word without spaces. Empty: nothing does.
	Mark string
	// Path led to it once, and may lead to another now.
	Path string
}

// Holder is whom an address is reserved for.
type Holder struct {
	Network string
	Owner   Owner
	Netns   Netns
}

// Gone answers whether the kernel proves that nothing is left of an attachment, neither its namespace nor its link. In doubt
// it answers false. It is asked about few holders, and only before the address of one is given to another.
type Gone func(context.Context, Holder) bool

// A record is what a reservation's file remembers of its holder.
type record struct {
	boot  boot
	netns Netns
}

// text is one line, but for the path, which holds no NUL and may hold anything else.
func (r record) text() []byte {
	return []byte("1 " + quote(r.boot.machine) + " " + quote(r.boot.id) + " " + quote(r.netns.Mark) + " " + r.netns.Path)
}

// quote gives a text without spaces.
func quote(s string) string { return strings.ReplaceAll(strconv.Quote(s), " ", `\x20`) }

// parseRecord gives the zero record for what is none.
func parseRecord(text string) record {
	fields := strings.SplitN(text, " ", 5)
	if len(fields) < 5 || fields[0] != "1" {
		return record{}
	}
	r := record{netns: Netns{Path: fields[4]}}
	var errs [3]error
	for i, word := range []*string{&r.boot.machine, &r.boot.id, &r.netns.Mark} {
		*word, errs[i] = strconv.Unquote(fields[1+i])
	}
	if errors.Join(errs[:]...) != nil {
		return record{}
	}
	return r
}

// attach puts the record on an open file.
func (r record) attach(sys system, fd int) error {
	text := r.text()
	if err := sys.fsetxattr(fd, userAttribute, text); err == nil {
		return nil
	}
	return sys.fsetxattr(fd, trustedAttribute, text)
}

// record reads the record of a reservation; the zero record if it has none. A file that is gone, or cannot be read now, is an
// error.
func (s *session) record(name string) (record, error) {
	fd, err := s.net.open(name, unix.O_RDONLY)
	if notAFile(err) {
		return record{}, nil
	}
	if err != nil {
		return record{}, err
	}
	defer s.net.sys.close(fd)
	r, err := readRecord(s.net.sys, fd)
	if err != nil {
		return record{}, s.net.fault("read", name, err)
	}
	return r, nil
}

// holderAndRecord reads both at once. The error is fs.ErrNotExist if nobody holds the address.
func (s *session) holderAndRecord(addr netip.Addr) (Owner, record, error) {
	var r record
	var recordErr error
	e, err := s.readEntry(addr, func(fd int, _ entry) { r, recordErr = readRecord(s.net.sys, fd) })
	if err == nil && recordErr != nil {
		err = s.net.fault("read", addr.String(), recordErr)
	}
	return e.owner, r, err
}

func readRecord(sys system, fd int) (record, error) {
	text := make([]byte, recordMax)
	for _, attribute := range []string{userAttribute, trustedAttribute} {
		n, err := sys.fgetxattr(fd, attribute, text)
		if err == nil {
			return parseRecord(string(text[:n])), nil
		}
		if !is(err, unix.ENODATA, unix.EOPNOTSUPP, unix.ENOSYS, unix.ERANGE) {
			return record{}, err
		}
	}
	return record{}, nil
}

// setRecord gives a reservation another record.
func (s *session) setRecord(name string, r record) error {
	fd, err := s.net.open(name, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer s.net.sys.close(fd)
	if err := r.attach(s.net.sys, fd); err != nil {
		return s.net.fault("write", name, err)
	}
	return nil
}

// A renewal is a record that was replaced.
type renewal struct {
	name string
	old  record
}

// renew replaces the record of a reservation that its owner takes up again with another namespace. The owner may live in
// either: then none is recorded, and the address is not reclaimed with one of them. Without a record it is never reclaimed.
func (s *session) renew(name string, r record) ([]renewal, error) {
	old, err := s.record(name)
	if err != nil || old == (record{}) || old.boot == r.boot && old.netns.Mark == r.netns.Mark {
		return nil, err
	}
	if r.netns = (Netns{}); old == r {
		return nil, nil
	}
	return []renewal{{name, old}}, s.setRecord(name, r)
}

// restore puts replaced records back.
func (s *session) restore(all []renewal) error {
	var errs []error
	for _, r := range all {
		errs = append(errs, s.setRecord(r.name, r.old))
	}
	return errors.Join(errs...)
}
