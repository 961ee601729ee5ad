package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// errNoLink says that a link does not exist.
var errNoLink = errors.New("no such link")

// IsNotFound says whether an error means that a link does not exist.
func IsNotFound(err error) bool {
	var missing netlink.LinkNotFoundError
	return errors.Is(err, errNoLink) || errors.As(err, &missing)
}

// linkCache remembers the links of the namespaces of one attachment, as its objects ask for the same few. What changes a link
// goes through it, which is why nothing outside this package has a say in what it holds.
type linkCache struct{ found map[linkKey]foundLink }

type linkKey struct {
	in   *Namespace
	name string
}

type foundLink struct {
	netlink.Link
	// ipv6 is the parameters of IPv6, as IFLA_INET6_CONF has them. Empty: unknown, or IPv6 is not there.
	ipv6 []byte
}

func (c *linkCache) remember(in *Namespace, link foundLink) {
	if c.found == nil {
		c.found = make(map[linkKey]foundLink)
	}
	c.found[linkKey{in, link.Attrs().Name}] = link
}

func (c *linkCache) forget(in *Namespace, name string) { delete(c.found, linkKey{in, name}) }

// clear forgets all links, of all namespaces: with one that is deleted go those that lie on it, and the other end of a veth.
func (c *linkCache) clear() { clear(c.found) }

// forgetParameters forgets what came with links of their parameters; the links stay.
func (c *linkCache) forgetParameters() {
	for key, link := range c.found {
		link.ipv6 = nil
		c.found[key] = link
	}
}

// Refresh drops what Link remembers of any link: each try of an attachment begins with it, as others may have removed what the
// last one has seen.
func (k *Kernel) Refresh() {
	if k.Host != nil {
		k.Host.links.clear()
	}
}

// Link finds a link by name and remembers it until it is changed by a method of the namespace. When there is none,
// IsNotFound(err) holds.
func (n *Namespace) Link(name string) (netlink.Link, error) {
	found, err := n.link(name)
	if err != nil {
		return nil, err
	}
	return found.Link, nil
}

func (n *Namespace) link(name string) (foundLink, error) {
	if found, ok := n.links.found[linkKey{n, name}]; ok {
		return found, nil
	}
	return n.linkNow(name)
}

// LinkNow is Link for who has to know what others have changed: the kernel is asked, whatever is remembered.
func (n *Namespace) LinkNow(name string) (netlink.Link, error) {
	found, err := n.linkNow(name)
	if err != nil {
		return nil, err
	}
	return found.Link, nil
}

func (n *Namespace) linkNow(name string) (foundLink, error) {
	n.links.forget(n, name)
	attribute := uint16(unix.IFLA_IFNAME)
	if len(name) >= unix.IFNAMSIZ {
		attribute = unix.IFLA_ALT_IFNAME
	}
	found, err := n.lookUp(appendAttribute(linkHeader(0), attribute, append([]byte(name), 0)))
	if err != nil {
		return foundLink{}, fmt.Errorf("ip link show %s: %w", name, err)
	}
	return found, nil
}

// LinkAt finds a link by index, as it is now, and remembers it for Link. When there is none, IsNotFound(err) holds.
func (n *Namespace) LinkAt(index int) (netlink.Link, error) {
	found, err := n.lookUp(linkHeader(index))
	if err != nil {
		return nil, fmt.Errorf("ip link show with index %d: %w", index, err)
	}
	return found.Link, nil
}

// skipStats leaves the counters of a link out (RTEXT_FILTER_SKIP_STATS, Linux 4.4), which are half of the answer.
const skipStats = 1 << 3

func (n *Namespace) lookUp(request []byte) (foundLink, error) {
	request = appendAttribute(request, unix.IFLA_EXT_MASK, uint32Value(skipStats))
	objects, err := n.ask(Message{Kind: unix.RTM_GETLINK, Body: request})
	if errors.Is(err, unix.ENODEV) || err == nil && len(objects) == 0 {
		return foundLink{}, errNoLink
	}
	if err != nil {
		return foundLink{}, err
	}
	body := objects[0]
	link, err := netlink.LinkDeserialize(&unix.NlMsghdr{Type: unix.RTM_NEWLINK}, body)
	if err != nil {
		return foundLink{}, err
	}
	families := attribute(body[unix.SizeofIfInfomsg:], unix.IFLA_AF_SPEC)
	found := foundLink{link, attribute(attribute(families, unix.AF_INET6), unix.IFLA_INET6_CONF)}
	n.links.remember(n, found)
	return found, nil
}

// linkHeader is a struct ifinfomsg.
func linkHeader(index int) []byte {
	header := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(header[4:], uint32(index))
	return header
}

// AcceptsRouters is the parameter accept_ra of a link, which comes with a link that is remembered. The error wraps fs.ErrNotExist
// where there is no IPv6.
func (n *Namespace) AcceptsRouters(name string) (string, error) {
	const acceptRA = 3 // DEVCONF_ACCEPT_RA (linux/ipv6.h), of 32 bits each
	if found, ok := n.links.found[linkKey{n, name}]; ok && len(found.ipv6) >= 4*(acceptRA+1) {
		return strconv.Itoa(int(int32(binary.NativeEndian.Uint32(found.ipv6[4*acceptRA:])))), nil
	}
	return n.Sysctl("net/ipv6/conf/" + name + "/accept_ra")
}

// LinkList lists all links, without their counters, which are a good part of what the kernel tells of a link.
func (n *Namespace) LinkList() (links []netlink.Link, err error) {
	const skipStats = 1 << 3 // RTEXT_FILTER_SKIP_STATS of linux/rtnetlink.h
	request := appendAttribute(make([]byte, unix.SizeofIfInfomsg), unix.IFLA_EXT_MASK, uint32Value(skipStats))
	err = n.list(unix.RTM_GETLINK, request, func(body []byte) error {
		link, err := netlink.LinkDeserialize(nil, slices.Clone(body)) // of which the link keeps parts
		links = append(links, link)
		return err
	})
	return links, err
}
