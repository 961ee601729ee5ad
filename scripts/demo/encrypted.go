package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// words are what a container tells another, often enough that they would not be missed.
var words = strings.Repeat("we meet at the old mill at nine\n", 32)

// cluster is two hosts with a node agent each, and etcd.
type cluster struct {
	*testnet.Hosts
	etcd *testnet.Etcd
	web  []*exec.Cmd
}

// close may be called again.
func (c *cluster) close() error {
	var errs []error
	for _, web := range c.web {
		errs = append(errs, web.Process.Kill())
		_ = web.Wait() // it was killed
	}
	if c.etcd != nil {
		errs = append(errs, c.etcd.Close())
	}
	if c.Hosts != nil {
		errs = append(errs, c.Close())
	}
	*c = cluster{}
	return errors.Join(errs...)
}

// raiseHosts starts fairwayd on two hosts.
func (s *stage) raiseHosts() (err error) {
	s.cluster.Hosts, err = testnet.RaiseHosts(testnet.HostsConfig{Dir: scratch + "/hosts", Count: 2, Plugins: os.Getenv("CNI_PATH")})
	if err != nil {
		return err
	}
	if s.cluster.etcd, err = s.cluster.StartEtcd(1); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, h := range s.cluster.All {
		// Nobody else reaches this etcd.
		if _, err := h.StartAgent(s.cluster.etcd.Endpoints(), "--insecure-registry"); err != nil {
			return err
		}
		if err := h.AwaitHealthy(ctx); err != nil {
			return err
		}
		s.page.tick(h.Name, fmt.Sprintf("%s, with fairwayd", h.V4))
	}
	return nil
}

func (s *stage) createClearAndSecret() error {
	one := s.cluster.All[0]
	for _, command := range []string{
		"fairway create -d overlay --subnet 10.80.0.0/16 clear",
		"fairway create -d overlay --subnet 10.81.0.0/16 -o encrypted secret",
	} {
		if _, err := s.typedOn(one, command); err != nil {
			return err
		}
	}
	return nil
}

// typedOn has a person type a line on a host.
func (s *stage) typedOn(h *testnet.Host, command string) (string, error) {
	s.page.typedOn(h.Name, command)
	return onHost(h, command)
}

// onPath is where a host has the commands, which say nothing here but what they are asked.
const onPath = "export FAIRWAY_LOG= PATH=/opt/cni/bin:$PATH; "

func onHost(h *testnet.Host, command string) (string, error) {
	out, err := h.Command("sh", "-c", onPath+command).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %s: %w: %s", h.Name, command, err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// listenToBoth has a container of each network be told the words by one on the other host, and counts who else can read them.
func (s *stage) listenToBoth() error {
	seen, err := s.listenTo("clear")
	if err != nil {
		return err
	}
	if seen.words == 0 || seen.vxlan == 0 {
		return fmt.Errorf("the cable shows nothing of what is said in clear: %s", seen)
	}
	s.page.cross("clear", seen.String())
	if seen, err = s.listenTo("secret"); err != nil {
		return err
	}
	if seen.words > 0 || seen.vxlan > 0 || seen.other == 0 {
		return fmt.Errorf("the cable shows of an encrypted network: %s", seen)
	}
	health, err := s.cluster.All[0].Agent().Health(context.Background())
	if err != nil {
		return err
	}
	s.page.tick("secret", seen.String()+": WireGuard, by "+map[string]string{"kernel": "the kernel", "userspace": "fairwayd"}[health.Encryption])
	return nil
}

// sighting is what somebody at the cable of a host sees.
type sighting struct{ words, vxlan, other int }

func (s sighting) String() string {
	return fmt.Sprintf("the words %d times, %d packets of VXLAN, %d others of UDP", s.words, s.vxlan, s.other)
}

func (s *stage) listenTo(network string) (seen sighting, err error) {
	one, two := s.cluster.All[0], s.cluster.All[1]
	address, err := s.tellOn(two, network)
	if err != nil {
		return seen, err
	}
	cable, err := s.cluster.Underlay.OpenCapture(one.Name)
	if err != nil {
		return seen, err
	}
	defer cable.Close()
	heard, err := s.typedOn(one, "fairway run --network "+network+" busybox wget -q -O - http://"+address+"/")
	if err != nil {
		return seen, err
	}
	if heard != strings.TrimSpace(words) {
		return seen, fmt.Errorf("on network %s came %q", network, heard)
	}
	err = cable.Drain(func(frame []byte) {
		seen.words += bytes.Count(frame, []byte(strings.TrimSpace(words[:32])))
		if _, ok := testnet.VNIOf(frame); ok {
			seen.vxlan++
		} else if isUDP(frame) {
			seen.other++
		}
	})
	return seen, err
}

// isUDP knows packets of IPv4 in Ethernet.
func isUDP(frame []byte) bool {
	return len(frame) > 34 && frame[12] == 8 && frame[13] == 0 && frame[23] == 17
}

// tellOn runs a web server with the words on a host, and gives its address.
func (s *stage) tellOn(h *testnet.Host, network string) (address string, err error) {
	if _, err := onHost(h, "mkdir -p /run/www && printf %s '"+words+"' >/run/www/index.html"); err != nil {
		return "", err
	}
	command := "fairway run --network " + network + " --name web-" + network + " busybox httpd -f -p 80 -h /run/www"
	s.page.typedOn(h.Name, command+" &")
	web := h.Command("sh", "-c", onPath+"exec "+command)
	if err := web.Start(); err != nil {
		return "", err
	}
	s.cluster.web = append(s.cluster.web, web)
	inspect := "fairway inspect -f '{{range .Containers}}{{.IPv4Address}}{{end}}' " + network
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if out, err := onHost(h, inspect); err == nil && out != "" {
			address, _, _ = strings.Cut(out, "/")
			return address, nil
		}
	}
	return "", fmt.Errorf("%s is not there: %s", command, inspect)
}

func (s *stage) endHosts() error {
	if err := s.cluster.close(); err != nil {
		return err
	}
	s.page.tick("hosts", "taken down, with all they had")
	return nil
}
