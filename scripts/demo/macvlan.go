package main

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

const (
	firstOnLAN     = "192.0.2.100"
	macvlanNetwork = `{
  "cniVersion": "1.1.0",
  "name": "lan",
  "plugins": [{
    "type": "macvlan", "master": "eth0", "hostAccess": true,
    "ipam": {
      "type": "host-local", "dataDir": "` + scratch + `/networks",
      "ranges": [[{"subnet": "192.0.2.0/24", "rangeStart": "` + firstOnLAN + `", "rangeEnd": "192.0.2.119"}]]
    }
  }]
}`
)

func (s *stage) showMacvlan() error { return s.show(macvlanNetwork) }

func (s *stage) attachToMacvlan() (err error) {
	if s.before, err = takeInventory(); err != nil {
		return err
	}
	return errors.Join(s.attach("m1", macvlanNetwork), s.attach("m2", macvlanNetwork))
}

// trafficOfMacvlan: the outside is the other machine on the physical network.
func (s *stage) trafficOfMacvlan() error {
	m1, m2 := s.containers["m1"], s.containers["m2"]
	seen, err := m1.busybox("wget", "-q", "-O", "-", "http://"+outsideAddress+"/")
	if err != nil {
		return err
	}
	if seen != firstOnLAN {
		return fmt.Errorf("the outside saw m1 as %s instead of %s", seen, firstOnLAN)
	}
	mac, err := s.macSeen(firstOnLAN)
	if err != nil {
		return err
	}
	if own := m1.answered.result.Interfaces[0].Mac; mac != own {
		return fmt.Errorf("the outside reaches m1 by %s instead of its own %s", mac, own)
	}
	s.page.tick("a machine of its own", "the outside saw "+seen+" at "+mac+", which is m1's own")
	host := &container{Namespace: &testnet.Namespace{Path: ownNamespace}, id: "host"}
	return errors.Join(s.ping(m1, "m2", m2.addresses()[0]), s.ping(m1, "host", hostAddress), s.ping(host, "m1", firstOnLAN),
		s.check("m1", "all as declared"))
}

// macSeen is the MAC by which the outside reaches an address.
func (s *stage) macSeen(address string) (mac string, err error) {
	err = s.outside.Do(func() error {
		neighbours, err := netlink.NeighList(0, netlink.FAMILY_V4)
		for _, n := range neighbours {
			if n.IP.Equal(net.ParseIP(address)) {
				mac = n.HardwareAddr.String()
			}
		}
		return err
	})
	return mac, err
}

func (s *stage) detachFromMacvlan() error {
	attached, err := takeInventory()
	if err != nil {
		return err
	}
	if err := errors.Join(s.detach("m1"), s.detach("m2")); err != nil {
		return err
	}
	after, err := takeInventory()
	if err != nil {
		return err
	}
	s.page.line(" ", "host with m1 and m2", attached.String()+" (one is its own)")
	if after != s.before {
		return fmt.Errorf("left after DEL: %s", after)
	}
	s.page.tick("host after DEL", after.String()+", as before ADD")
	return nil
}

// show writes a network as it is.
func (s *stage) show(network string) error {
	for line := range strings.Lines(network) {
		s.page.note(strings.TrimSuffix(line, "\n"))
	}
	return nil
}
