// Package names is what containers are called: a record for each attachment to a network that asks for names, which a plugin
// leaves in a directory and a resolver reads, and the index that answers from records. The form of a record is an interface
// between processes; docs/names.md describes it. The package is pure but for Directory, and knows neither DNS nor CNI.
package names

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/fairway-cni/fairway/pkg/jsontext"
)

// Version is the form of the records that this package writes. One of another is left alone.
const Version = 1

var (
	// ErrName says that a text cannot be a name.
	ErrName = errors.New("not a name")
	// ErrRecord says that a file holds no record.
	ErrRecord = errors.New("not a record of names")
)

// Owner is an attachment.
type Owner struct {
	Network     string `json:"network"`
	ContainerID string `json:"containerID"`
	IfName      string `json:"ifname"`
}

// Netns is a network namespace: the path under which it was handed over, and what tells it from all others of the boot.
type Netns struct {
	Path  string `json:"path"`
	Dev   uint64 `json:"dev"`
	Inode uint64 `json:"inode"`
	// Cookie is never given again during one boot (SO_NETNS_COOKIE, Linux 5.14). 0: the kernel has none.
	Cookie uint64 `json:"cookie,omitempty"`
}

// Space is a namespace whatever its path: a container with two networks has one.
type Space struct{ Dev, Inode, Cookie uint64 }

// Space is the namespace without its path.
func (n Netns) Space() Space { return Space{n.Dev, n.Inode, n.Cookie} }

// Record is what one attachment is called, and what it may ask.
type Record struct {
	Version int   `json:"version"`
	Owner   Owner `json:"owner"`
	// Names are the container's own, the first of which is the answer to a question for an address. The ID's first digits
	// are a name without being listed.
	Names []string `json:"names,omitempty"`
	// Aliases may be those of other containers, too.
	Aliases []string `json:"aliases,omitempty"`
	// Addresses are what the names stand for.
	Addresses []netip.Addr `json:"addresses"`
	MAC       string       `json:"mac,omitempty"`
	Netns     Netns        `json:"netns,omitzero"`
	// Host are the host's addresses in the network, for host.docker.internal. Empty: the network does not offer them.
	Host []netip.Addr `json:"host,omitempty"`
	// Internal: the network leads nowhere, and its containers are not helped to ask outside.
	Internal bool `json:"internal,omitempty"`
	// Servers are asked for other names, from within the container. Empty: those of the host, from the host.
	Servers []netip.Addr `json:"servers,omitempty"`
}

// Limits of a record, far beyond what anybody needs, which bound what a reader has to hold.
const (
	mostNames     = 256
	mostAddresses = 64
	longestText   = 4096
)

// Check says what is wrong with a record. The error wraps ErrRecord.
func (r Record) Check() error {
	switch {
	case r.Version != Version:
		return fmt.Errorf("%w: version is %d: this release knows %d", ErrRecord, r.Version, Version)
	case r.Owner.Network == "" || r.Owner.ContainerID == "" || r.Owner.IfName == "":
		return fmt.Errorf("%w: owner is incomplete: name network, containerID and ifname", ErrRecord)
	case len(r.Owner.Network) > longestText || len(r.Owner.ContainerID) > longestText || len(r.Netns.Path) > longestText:
		return fmt.Errorf("%w: a text is longer than %d bytes", ErrRecord, longestText)
	case len(r.Names) > mostNames || len(r.Aliases) > mostNames:
		return fmt.Errorf("%w: more than %d names or aliases", ErrRecord, mostNames)
	case len(r.Addresses) > mostAddresses || len(r.Host) > mostAddresses || len(r.Servers) > mostAddresses:
		return fmt.Errorf("%w: more than %d addresses", ErrRecord, mostAddresses)
	}
	for _, name := range slices.Concat(r.Names, r.Aliases) {
		if err := CheckName(name); err != nil {
			return fmt.Errorf("%w: %w", ErrRecord, err)
		}
	}
	for _, addr := range slices.Concat(r.Addresses, r.Host, r.Servers) {
		if !addr.IsValid() || addr.IsUnspecified() {
			return fmt.Errorf("%w: an address is empty", ErrRecord)
		}
	}
	return nil
}

// encode is the record as encoding/json would write it.
func (r Record) encode() []byte {
	var w jsontext.Writer
	w.Open('{')
	w.Key("version")
	w.Int(int64(r.Version))
	w.Key("owner")
	w.Open('{')
	for _, m := range [][2]string{{"network", r.Owner.Network}, {"containerID", r.Owner.ContainerID}, {"ifname", r.Owner.IfName}} {
		w.Key(m[0])
		w.String(m[1])
	}
	w.Close('}')
	w.List("names", r.Names)
	w.List("aliases", r.Aliases)
	w.Key("addresses")
	w.Open('[')
	for _, addr := range r.Addresses {
		w.String(addr.String())
	}
	w.Close(']')
	w.Member("mac", r.MAC)
	if r.Netns != (Netns{}) {
		r.Netns.encode(&w)
	}
	w.List("host", texts(r.Host))
	if r.Internal {
		w.Key("internal")
		w.Bool(true)
	}
	w.List("servers", texts(r.Servers))
	w.Close('}')
	return w.Bytes()
}

func (n Netns) encode(w *jsontext.Writer) {
	w.Key("netns")
	w.Open('{')
	w.Key("path")
	w.String(n.Path)
	w.Key("dev")
	w.Uint(n.Dev)
	w.Key("inode")
	w.Uint(n.Inode)
	if n.Cookie != 0 {
		w.Key("cookie")
		w.Uint(n.Cookie)
	}
	w.Close('}')
}

func texts(addrs []netip.Addr) (all []string) {
	for _, addr := range addrs {
		all = append(all, addr.String())
	}
	return all
}

// Decode reads a record and checks it. Keys that it does not know are of later releases of the same form. The error wraps
// ErrRecord.
func Decode(text []byte) (r Record, err error) {
	if err := json.Unmarshal(text, &r); err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	return r, r.Check()
}

// longest a name may be (RFC 1035, section 2.3.4): 255 octets on the wire are 253 as text.
const (
	longestName  = 253
	longestLabel = 63
)

// CheckName says why a text cannot be a name, or nil. DNS carries any octet in a label (RFC 2181, section 11), so that spaces
// and underscores are fine. The error wraps ErrName.
func CheckName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: it is empty", ErrName)
	case len(name) > longestName:
		return fmt.Errorf("%w: %.20q… has %d bytes: shorten it to %d", ErrName, name, len(name), longestName)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: %q is not UTF-8", ErrName, name)
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("%w: %q holds a control character", ErrName, name)
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" {
			return fmt.Errorf("%w: %q has an empty part: write one dot between two parts", ErrName, name)
		}
		if len(label) > longestLabel {
			return fmt.Errorf("%w: %q has a part of %d bytes: shorten it to %d", ErrName, name, len(label), longestLabel)
		}
	}
	return nil
}

// ShortID is the name that every container has: the first twelve digits of its ID, as Docker shows it.
func ShortID(containerID string) string {
	const digits = 12
	return containerID[:min(digits, len(containerID))]
}

// key is the form in which names are compared: DNS does not tell the cases of ASCII apart (RFC 4343).
func key(name string) string {
	upper := func(c byte) bool { return 'A' <= c && c <= 'Z' }
	if !slices.ContainsFunc([]byte(name), upper) {
		return name
	}
	lower := []byte(name)
	for i, c := range lower {
		if upper(c) {
			lower[i] = c + 'a' - 'A'
		}
	}
	return string(lower)
}

// file is the name of an owner's record: a hash, as the names of owners may be longer than a file's.
func (o Owner) file() string {
	sum := sha256.Sum256([]byte(o.Network + "\x00" + o.ContainerID + "\x00" + o.IfName))
	return hex.EncodeToString(sum[:16]) + suffix
}
