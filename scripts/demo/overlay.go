package main

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

const (
	farAddress     = "198.51.100.2"
	overlayNetwork = `{
  "cniVersion": "1.1.0",
  "name": "wide",
  "plugins": [{
    "type": "overlay-vxlan", "vni": 4096, "subnets": ["10.42.0.0/16", "fd42::/48"], "ipMasq": true,
    "peers": [
      {"vtep": "` + hostAddress + `", "subnets": ["10.42.1.0/24", "fd42:0:0:1::/64"]},
      {"vtep": "` + farAddress + `", "subnets": ["10.42.2.0/24", "fd42:0:0:2::/64"]}
    ],
    "ipam": {"dataDir": "` + scratch + `/networks"}
  }]
}`
)

// openFarHost makes a second machine on the other side of the outside, which routes between them.
func (s *stage) openFarHost() (err error) {
	if s.far, err = testnet.New("far"); err != nil {
		return err
	}
	outside := s.outside.Command("ip", "-batch", "-")
	outside.Stdin = strings.NewReader(`
link add eth1 type veth peer name eth0 netns far
addr add 198.51.100.1/24 dev eth1
link set eth1 up`)
	far := s.far.Command("ip", "-batch", "-")
	far.Stdin = strings.NewReader(`
link set lo up
addr add ` + farAddress + `/24 dev eth0
link set eth0 up
route add default via 198.51.100.1`)
	route := s.outside.Command("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
	for _, cmd := range []*exec.Cmd{outside, far, route} {
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, out)
		}
	}
	s.page.tick("host", hostAddress)
	s.page.tick("far host", farAddress+", another network; the outside routes between them")
	s.before, err = takeInventory()
	return err
}

func (s *stage) showOverlay() error { return s.show(overlayNetwork) }

// attachToOverlay starts a container on each host, with one and the same file.
func (s *stage) attachToOverlay() error {
	return errors.Join(s.attach("o1", overlayNetwork), s.attachOn(s.far, "o2", overlayNetwork))
}

func (s *stage) trafficOfOverlay() error {
	o1, o2 := s.containers["o1"], s.containers["o2"]
	var errs []error
	for _, address := range o2.addresses() {
		errs = append(errs, s.ping(o1, "o2", address))
	}
	seen, err := o1.busybox("wget", "-q", "-O", "-", "http://"+outsideAddress+"/")
	if err == nil && seen != hostAddress {
		err = fmt.Errorf("the outside saw o1 as %s instead of the host's %s", seen, hostAddress)
	}
	if err = errors.Join(append(errs, err)...); err == nil {
		s.page.tick("masquerade", "the outside saw "+seen+", which is the host")
	}
	return err
}

// repairOverlay takes the way to the far host away, and lets CHECK put it back.
func (s *stage) repairOverlay() error {
	const command = "ip link del fwvx4096"
	s.page.line("$", "on the host", command)
	if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", command, err, out)
	}
	return errors.Join(s.check("o1", "repaired: device, routes, neighbours, forwarding entries"),
		s.ping(s.containers["o1"], "o2", s.containers["o2"].addresses()[0]))
}

func (s *stage) detachFromOverlay() error {
	if err := errors.Join(s.detach("o1"), s.detach("o2")); err != nil {
		return err
	}
	after, err := takeInventory()
	if err != nil {
		return err
	}
	s.page.tick("host after DEL", after.String()+" (fwvx4096 and its peers stay for the next container)")
	took, err := s.runtime.collect(s.containers["o1"])
	if err != nil {
		return err
	}
	if after, err = takeInventory(); err != nil {
		return err
	}
	if after != s.before {
		return fmt.Errorf("left after GC: %s", after)
	}
	s.page.tick("GC", fmt.Sprintf("%-9s no container left: %s, as before ADD", milliseconds(took), after))
	return nil
}
