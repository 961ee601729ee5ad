package overlay

import (
	"net/netip"
	"strconv"
)

// Peer is one host of a network.
type Peer struct {
	// Node is the host's name for people. Empty: it has none.
	Node string
	// VTEP is the host's address on the underlay.
	VTEP netip.Addr
	// Blocks are the pieces of the network's subnets whose addresses are the host's containers'. No host bits.
	Blocks []netip.Prefix
	// Key is the host's public key. In an encrypted network, a host without one is not reached.
	Key Key
	// NextKey is there while the host replaces its key, and the same as Key when the others have it.
	NextKey Key
	// Spare says that packets to the host go through the spare device. It is no part of what is written.
	Spare bool
}

// Pin is an address outside the blocks of the host it is on.
type Pin struct {
	Address netip.Addr
	// VTEP is the host's.
	VTEP netip.Addr
}

// PeersText is the hosts of a network as they are written.
type PeersText struct {
	// Self is the VTEP of the host that reads this. Empty: the one that is an address of the host.
	Self  string     `json:"self,omitempty"`
	Peers []PeerText `json:"peers"`
	Pins  []PinText  `json:"pins,omitempty"`
}

// PeerText is a Peer as it is written.
type PeerText struct {
	Node    string   `json:"node,omitempty"`
	VTEP    string   `json:"vtep"`
	Subnets []string `json:"subnets"`
	// PublicKey is needed in an encrypted network.
	PublicKey string `json:"publicKey,omitempty"`
	// NextKey is fairwayd's.
	NextKey string `json:"nextKey,omitempty"`
}

// PinText is a Pin as it is written.
type PinText struct {
	Address string `json:"address"`
	VTEP    string `json:"vtep"`
}

// Hosts is the hosts of a network.
type Hosts struct {
	// Self is the VTEP of this host; the zero address leaves it to Own.
	Self  netip.Addr
	Peers []Peer
	Pins  []Pin
}

// Parse reads the hosts, without regard to a network. Errors are ErrConfig.
func (t PeersText) Parse() (h Hosts, err error) {
	if t.Self != "" {
		if h.Self, err = parseAddr(named("key self"), t.Self); err != nil {
			return Hosts{}, err
		}
	}
	for i, text := range t.Peers {
		if h.Peers == nil {
			h.Peers = make([]Peer, 0, len(t.Peers))
		}
		peer, err := text.parse(i)
		if err != nil {
			return Hosts{}, err
		}
		h.Peers = append(h.Peers, peer)
	}
	for i, text := range t.Pins {
		pin, err := text.parse(i)
		if err != nil {
			return Hosts{}, err
		}
		h.Pins = append(h.Pins, pin)
	}
	return h, nil
}

func (t PeerText) parse(i int) (p Peer, err error) {
	p.Node = t.Node
	if p.VTEP, err = parseAddr(func() string { return index("peers", i) + ".vtep" }, t.VTEP); err != nil {
		return Peer{}, err
	}
	for _, k := range []struct {
		name, text string
		key        *Key
	}{{"publicKey", t.PublicKey, &p.Key}, {"nextKey", t.NextKey, &p.NextKey}} {
		if k.text == "" {
			continue
		}
		if *k.key, err = ParseKey(k.text); err != nil {
			return Peer{}, invalidf("%s.%s: %v", index("peers", i), k.name, err)
		}
	}
	p.Blocks, err = parsePrefixes(func() string { return index("peers", i) + ".subnets" }, t.Subnets)
	return p, err
}

func (t PinText) parse(i int) (p Pin, err error) {
	if p.Address, err = parseAddr(func() string { return index("pins", i) + ".address" }, t.Address); err != nil {
		return Pin{}, err
	}
	p.VTEP, err = parseAddr(func() string { return index("pins", i) + ".vtep" }, t.VTEP)
	return p, err
}

// text is the hosts as they are written.
func (h Hosts) text() PeersText {
	t := PeersText{Peers: make([]PeerText, 0, len(h.Peers))}
	if h.Self.IsValid() {
		t.Self = h.Self.String()
	}
	for _, p := range h.Peers {
		subnets := make([]string, 0, len(p.Blocks))
		for _, b := range p.Blocks {
			subnets = append(subnets, b.String())
		}
		text := PeerText{Node: p.Node, VTEP: p.VTEP.String(), Subnets: subnets}
		if !p.Key.IsZero() {
			text.PublicKey = p.Key.String()
		}
		if !p.NextKey.IsZero() {
			text.NextKey = p.NextKey.String()
		}
		t.Peers = append(t.Peers, text)
	}
	for _, p := range h.Pins {
		t.Pins = append(t.Pins, PinText{Address: p.Address.String(), VTEP: p.VTEP.String()})
	}
	return t
}

// key names a value for an error. Of a thousand values that are right none is named.
type key func() string

func named(name string) key { return func() string { return name } }

func index(key string, i int) string { return key + "[" + strconv.Itoa(i) + "]" }

// parseAddr reads an address of a host. A zone has no meaning on another host.
func parseAddr(k key, text string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, invalidf("%s is %q: give an IP address, such as 192.0.2.11", k(), text)
	}
	return addr.Unmap(), nil
}

func parsePrefixes(k key, texts []string) (prefixes []netip.Prefix, err error) {
	if len(texts) > 0 {
		prefixes = make([]netip.Prefix, 0, len(texts))
	}
	for i, text := range texts {
		p, err := parsePrefix(func() string { return index(k(), i) }, text)
		if err != nil {
			return nil, err
		}
		prefixes = append(prefixes, p)
	}
	return prefixes, nil
}

func parsePrefix(k key, text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil, p.Addr().Is4In6():
		return netip.Prefix{}, invalidf("%s is %q: give a subnet, such as 10.42.1.0/24", k(), text)
	case p != p.Masked():
		return netip.Prefix{}, invalidf("%s is %s, which has host bits: write %s", k(), p, p.Masked())
	}
	return p, nil
}
