package ports

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state/nftable"
)

// element is a port's element in a map, for one of the container's addresses.
func (p Port) element(addr netip.Addr, tag string) kernel.Element {
	k := kind{of: addr, anywhere: p.anywhere(), ports: p.isRun()}
	e := kernel.Element{Set: k.published(), Key: p.key(k, p.HostPort), Data: addr.AsSlice(), Comment: tag}
	if k.ports {
		e.KeyEnd = p.key(k, p.HostPort+p.More)
	} else {
		e.Data = append(binary.BigEndian.AppendUint16(e.Data, p.ContainerPort), 0, 0)
	}
	return e
}

// limit is the element that leads to the chain of who may come in; ok is false for a port that all may use.
func (p Port) limit(addr netip.Addr, tag string) (e kernel.Element, ok bool) {
	if len(p.Sources) == 0 {
		return kernel.Element{}, false
	}
	k := kind{of: addr, anywhere: p.anywhere(), ports: p.isRun()}
	e = kernel.Element{Set: k.limited(), Key: p.key(k, p.HostPort), Jump: sourcesChain(p.Sources), Comment: tag}
	if k.ports {
		e.KeyEnd = p.key(k, p.HostPort+p.More)
	}
	return e, true
}

// key is the host's address, unless it is for all, the protocol and a port. Each part of a concatenation is filled up to a
// multiple of four bytes.
func (p Port) key(k kind, port uint16) []byte {
	var key []byte
	if !k.anywhere {
		key = p.HostIP.AsSlice()
	}
	return append(binary.BigEndian.AppendUint16(append(key, p.Protocol, 0, 0, 0), port), 0, 0)
}

// portOf reads a port from an element of a map, and the container's address that it leads to. ok is false for another element.
func portOf(e kernel.Element) (p Port, to netip.Addr, ok bool) {
	for _, of := range []netip.Addr{any4, any6} {
		for _, k := range kinds(of) {
			if e.Set.Name == k.published().Name {
				return k.read(e)
			}
		}
	}
	return Port{}, netip.Addr{}, false
}

func (k kind) read(e kernel.Element) (p Port, to netip.Addr, ok bool) {
	key, size := e.Key, k.of.BitLen()/8
	if p.HostIP = k.of; !k.anywhere && len(key) >= size {
		p.HostIP, _ = netip.AddrFromSlice(key[:size])
		key = key[size:]
	}
	if len(key) < 8 || len(e.Data) < size {
		return Port{}, netip.Addr{}, false
	}
	p.Protocol, p.HostPort = key[0], binary.BigEndian.Uint16(key[4:])
	to, _ = netip.AddrFromSlice(e.Data[:size])
	switch {
	case k.ports && len(e.KeyEnd) == len(e.Key):
		p.ContainerPort = p.HostPort
		p.More = binary.BigEndian.Uint16(e.KeyEnd[len(e.KeyEnd)-4:]) - p.HostPort
	case len(e.Data) >= size+2:
		p.ContainerPort = binary.BigEndian.Uint16(e.Data[size:])
	}
	return p, to, true
}

// sourcesPrefix begins the names of the chains that pruneSources may delete.
const sourcesPrefix = "from_"

// sourcesChain is the chain of who may come in: a hash of the prefixes, in whatever order.
func sourcesChain(sources []netip.Prefix) string {
	var texts []string
	for _, s := range sources {
		texts = append(texts, s.Masked().String())
	}
	slices.Sort(texts)
	sum := sha256.Sum256([]byte(strings.Join(slices.Compact(texts), " ")))
	return sourcesPrefix + hex.EncodeToString(sum[:8])
}

// ensureSources makes the chain of who may come in. It is not changed once it stands, as its name tells its rules.
func ensureSources(k *kernel.Kernel, sources []netip.Prefix) error {
	conn, err := k.Nftables()
	if err != nil {
		return err
	}
	chain := &nftables.Chain{Table: Table(), Name: sourcesChain(sources)}
	conn.AddChain(chain)
	conn.FlushChain(chain)
	for _, s := range sources {
		conn.AddRule(&nftables.Rule{Table: Table(), Chain: chain,
			Exprs: nftable.Match(nftable.Within(nftable.Source, s.Masked()), nftable.Verdict(expr.VerdictReturn))})
	}
	conn.AddRule(&nftables.Rule{Table: Table(), Chain: chain, Exprs: nftable.Verdict(expr.VerdictDrop)})
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("nft add chain inet %s %s: %w", Table().Name, chain.Name, err)
	}
	return nil
}
