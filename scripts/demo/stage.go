package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

const (
	hostAddress    = "192.0.2.2"
	outsideAddress = "192.0.2.1"
)

// stage is the machine of the demo: the namespace of this process is the host, with an outside behind its uplink.
type stage struct {
	page       *page
	runtime    *runtime
	outside    *testnet.Namespace
	far        *testnet.Namespace // the second host; nil until the overlay needs it
	containers map[string]*container
	web        server  // of the section about the command line
	cluster    cluster // of the section about encryption
	// before is what the host held before the first ADD.
	before inventory
}

func openStage(p *page, plugins string) (*stage, error) {
	s := &stage{page: p, runtime: newRuntime(plugins), containers: map[string]*container{}}
	var err error
	if s.outside, err = testnet.New("outside"); err != nil {
		return nil, err
	}
	if err := s.connect(); err != nil {
		return nil, err
	}
	if err := s.serveOutside(); err != nil {
		return nil, err
	}
	p.section("the stage", "a machine in namespaces of its own; nothing on yours is touched")
	p.tick("host", hostAddress+"/24, default route through "+outsideAddress)
	p.tick("outside", outsideAddress+"/24, and no route to any container")
	s.before, err = takeInventory()
	return s, err
}

// connect lays the cable between the host and the outside.
func (s *stage) connect() error {
	host := exec.Command("ip", "-batch", "-")
	host.Stdin = strings.NewReader(`
link add eth0 type veth peer name eth0 netns outside
addr add ` + hostAddress + `/24 dev eth0
link set eth0 up
route add default via ` + outsideAddress)
	outside := s.outside.Command("ip", "-batch", "-")
	outside.Stdin = strings.NewReader(`
addr add ` + outsideAddress + `/24 dev eth0
link set eth0 up`)
	for _, cmd := range []*exec.Cmd{host, outside} {
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("ip -batch: %w: %s", err, out)
		}
	}
	return nil
}

// serveOutside lets the outside tell everyone who asks by HTTP which address the question came from.
func (s *stage) serveOutside() error {
	var listener net.Listener
	err := s.outside.Do(func() (err error) {
		listener, err = net.Listen("tcp", net.JoinHostPort(outsideAddress, "80"))
		return err
	})
	if err != nil {
		return err
	}
	go func() {
		// It ends with the process.
		_ = http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			address, _, _ := net.SplitHostPort(r.RemoteAddr) // the server wrote it, so it can be split
			_, _ = io.WriteString(w, address)                // a client that has gone is not our concern
		}))
	}()
	return nil
}
