package main

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/containernetworking/cni/libcni"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

const hostNetwork = `{"cniVersion": "1.1.0", "name": "host", "plugins": [{"type": "host"}]}`

// ownNamespace is the namespace of whoever opens it: the plugin finds the host's there.
const ownNamespace = "/proc/self/ns/net"

// attachToHost attaches what a runtime has left in the host's namespace.
func (s *stage) attachToHost() error {
	network, err := libcni.NetworkConfFromBytes([]byte(hostNetwork))
	if err != nil {
		return err
	}
	c := &container{Namespace: &testnet.Namespace{Path: ownNamespace}, id: "h1", network: network}
	if err := s.start(c); err != nil {
		return err
	}
	if len(c.answered.created) > 0 {
		return fmt.Errorf("the plugin has made %v", c.answered.created)
	}
	return s.check("h1", "nothing made: h1 has what the host has")
}

func (s *stage) trafficOfHost() error {
	out, err := exec.Command("busybox", "wget", "-q", "-O", "-", "http://"+outsideAddress+"/").CombinedOutput()
	if err != nil {
		return fmt.Errorf("wget: %w: %s", err, out)
	}
	if string(out) != hostAddress {
		return fmt.Errorf("the outside saw h1 as %s instead of the host's %s", out, hostAddress)
	}
	s.page.tick("no translation", "the outside saw "+hostAddress+", which is h1's own")
	return nil
}

// refuseOther asks for the host's network in a namespace that is not the host's.
func (s *stage) refuseOther() error {
	err := s.attach("h2", hostNetwork)
	if err == nil {
		return errors.New("ADD did not notice that h2 has a namespace of its own")
	}
	s.page.cross("ADD h2", "in a namespace of its own")
	for _, part := range strings.SplitN(err.Error(), ": ", 3) { // too long for one line
		s.page.note("    " + part)
	}
	return nil
}

func (s *stage) detachFromHost() error { return s.detach("h1") }
