package main

import (
	"errors"
	"fmt"
	"strings"
)

const (
	// scratch lies in the empty /run of this program's mount namespace.
	scratch      = "/run/fairway-demo"
	reservations = scratch + "/networks"

	bridgeNetwork = `{
  "cniVersion": "1.1.0",
  "name": "web",
  "plugins": [{
    "type": "bridge", "bridge": "fairway0", "isDefaultGateway": true, "ipMasq": true,
    "ipam": {
      "type": "host-local", "dataDir": "` + scratch + `/networks",
      "ranges": [[{"subnet": "10.22.0.0/24"}], [{"subnet": "fd00:22::/64"}]]
    }
  }]
}`
)

func (s *stage) showBridge() error { return s.show(bridgeNetwork) }

func (s *stage) attachTwo() error {
	for _, id := range []string{"c1", "c2"} {
		if err := s.attach(id, bridgeNetwork); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) traffic() error {
	c1 := s.containers["c1"]
	for _, address := range s.containers["c2"].addresses() {
		if err := s.ping(c1, "c2", address); err != nil {
			return err
		}
	}
	if err := s.ping(c1, "outside", outsideAddress); err != nil {
		return err
	}
	seen, err := c1.busybox("wget", "-q", "-O", "-", "http://"+outsideAddress+"/")
	if err != nil {
		return err
	}
	if seen != hostAddress {
		return fmt.Errorf("the outside saw c1 as %s instead of the host's %s", seen, hostAddress)
	}
	s.page.tick("masquerade", "the outside saw "+seen+", which is the host")
	return nil
}

func (s *stage) checkBoth() error {
	return errors.Join(s.check("c1", "all as declared"), s.check("c2", "all as declared"))
}

// drift takes something away behind the plugin's back, and puts it back.
func (s *stage) drift() error {
	c1 := s.containers["c1"]
	if err := s.byHand(c1, "ip", "route", "del", "default"); err != nil {
		return err
	}
	took, err := s.runtime.check(c1)
	if err == nil {
		return errors.New("CHECK did not notice that the default route of c1 is gone")
	}
	s.page.cross("CHECK c1", milliseconds(took))
	for line := range strings.Lines(err.Error()) {
		s.page.note("    " + strings.TrimSpace(line))
	}
	gateway := c1.answered.result.IPs[0].Gateway.String()
	if err := s.byHand(c1, "ip", "route", "add", "default", "via", gateway); err != nil {
		return err
	}
	return s.check("c1", "all as declared again")
}

func (s *stage) detachBoth() error {
	attached, err := takeInventory()
	if err != nil {
		return err
	}
	if err := errors.Join(s.detach("c1"), s.detach("c2")); err != nil {
		return err
	}
	after, err := takeInventory()
	if err != nil {
		return err
	}
	s.page.line(" ", "host before ADD", s.before.String())
	s.page.line(" ", "host with c1 and c2", attached.String())
	want := s.before
	want.links++ // the bridge
	if after != want {
		return fmt.Errorf("left after DEL: %s", after)
	}
	s.page.tick("host after DEL", after.String()+" (fairway0 stays for the next container)")
	return nil
}
