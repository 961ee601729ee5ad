package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/containernetworking/cni/libcni"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	portstate "github.com/fairway-cni/fairway/pkg/state/ports"
)

const (
	chainCase  = "nerdctl's list, one port"
	aloneCase  = "nerdctl's list, by bridge alone"
	crowdPorts = "one port, beside 50 000"
	rangePorts = "a range of ports, against one"
	firstCase  = "connection, beside 50 000 ports"
)

// nerdctlList is what nerdctl writes for a network.
func nerdctlList() string {
	return bridge(masquerade+`, "hairpinMode": true`, v4) + `, {"type": "portmap", "capabilities": {"portMappings": true}}` +
		`, {"type": "firewall", "ingressPolicy": "same-bridge"}, {"type": "tuning"}`
}

// publishing is the same by one plugin.
func publishing() string {
	return bridge(masquerade+`, "hairpinMode": true, "isolated": true, "capabilities": {"portMappings": true}`, v4)
}

// nerdctlCase is nerdctl's list for a container with a port.
func nerdctlCase() Case {
	return Case{Name: chainCase, Plugin: nerdctlList(), Ports: 1, Add: atMost(0.25), Del: atMost(0.12)}
}

// byBridgeAlone holds upstream's list against what one plugin of fairway does.
func (b bench) byBridgeAlone() measurement {
	alone := Case{Name: aloneCase, Plugin: publishing(), Ports: 1, Add: atMost(0.10), Del: atMost(0.06)}
	return measurement{aloneCase, func(ctx context.Context) ([]Row, error) {
		return b.measure(ctx, entrant{b.upstream, nerdctlCase()}, entrant{b.ours, alone})
	}}
}

// ofPorts is the fourth table: what ports cost by their number, held against few.
func (b bench) ofPorts() []measurement {
	few := Case{Plugin: publishing(), Ports: 1}
	against := func(name string, c Case) measurement { // of the same suite
		c.Name = name
		return measurement{name, func(ctx context.Context) ([]Row, error) {
			one, many := b.ours, b.ours
			one.name, many.name = "few", "many"
			return b.measure(ctx, entrant{one, few}, entrant{many, c})
		}}
	}
	crowd := few
	crowd.Published, crowd.Add = 50_000, atMost(1.2)
	return []measurement{against(crowdPorts, crowd), {rangePorts, b.portRange}, {firstCase, b.firstPacket}}
}

// portRange is the plugin's own time for a range of ports and for one. The runtime, which goes through the list of them as JSON for each plugin
// several times, takes longer than that.
func (b bench) portRange(ctx context.Context) (rows []Row, err error) {
	rows = []Row{{Case: rangePorts, Verb: add, Unit: milliseconds, Goal: atMost(1.2)}, {Case: rangePorts, Verb: del, Unit: milliseconds, Goal: atMost(1.2)}}
	var beds [2]*bed
	for i, ports := range []int{1, 2000} {
		suite := b.ours
		suite.name = fmt.Sprintf("range%d", i)
		bed, err := openBed(ctx, entrant{suite, Case{Plugin: publishing(), Ports: ports}}, b.scratch, b.rounds)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, bed.close()) }()
		beds[i] = bed
	}
	for round := range b.rounds {
		for _, i := range []int{round % 2, 1 - round%2} {
			c := beds[i].take(1)[0]
			for r, v := range []verb{add, del} {
				took, err := beds[i].callPlugin(v, c)
				if err != nil {
					return nil, err
				}
				if i == 0 {
					rows[r].Reference = append(rows[r].Reference, took)
				} else {
					rows[r].Ours = append(rows[r].Ours, took)
				}
			}
		}
	}
	for r := range rows {
		rows[r].Ratio = rows[r].Ours.median() / rows[r].Reference.median()
	}
	return rows, nil
}

// callPlugin calls a network's only plugin with what the runtime would say, and gives the time in milliseconds.
func (b *bed) callPlugin(v verb, c container) (float64, error) {
	stdin, err := libcni.InjectConf(b.network.Plugins[0], map[string]any{"name": networkName, "cniVersion": b.network.CNIVersion, "runtimeConfig": b.capabilities()})
	if err != nil {
		return 0, err
	}
	plugin := exec.Command(filepath.Join(b.suite.dir, stdin.Network.Type))
	plugin.Env = append(plugin.Environ(), "CNI_COMMAND="+string(v), "CNI_CONTAINERID="+c.id, "CNI_IFNAME=eth0", "CNI_NETNS="+c.ns.Path, "CNI_PATH="+b.suite.dir)
	plugin.Stdin = bytes.NewReader(stdin.Bytes)
	var took time.Duration
	err = b.host.Do(func() error {
		from := time.Now()
		said, err := plugin.CombinedOutput()
		if took = time.Since(from); err != nil {
			return fmt.Errorf("%s: %w: %s", v, err, said)
		}
		return nil
	})
	return inMilliseconds(took), err
}

// capabilities are what a runtime says for a container of a case.
func (c Case) capabilities() map[string]any {
	if c.Ports == 0 {
		return nil
	}
	var list []map[string]any
	for i := range c.Ports {
		list = append(list, map[string]any{"hostPort": firstPort + i, "containerPort": firstPort + i, "protocol": "tcp"})
	}
	return map[string]any{"portMappings": list}
}

// firstPort is the first port that a container publishes; those of others lie above.
const firstPort = 5000

// publishOthers publishes ports for a container that is not there.
func (b *bed) publishOthers(n int) error {
	if n == 0 {
		return nil
	}
	p := portstate.Published{Owner: state.Owner{Network: "others", ContainerID: "crowd", IfName: "eth0"}, Addrs: []netip.Addr{netip.MustParseAddr("10.3.255.1")}}
	for i := range n {
		port := uint16(10_000 + i)
		p.Ports = append(p.Ports, portstate.Port{Protocol: unix.IPPROTO_TCP, HostPort: port, ContainerPort: port ^ 1})
	}
	return b.host.Do(func() error {
		k, err := kernel.Open("")
		if err != nil {
			return err
		}
		defer k.Close()
		_, err = p.Ensure(k)
		return err
	})
}

// firstPacket is how long a connection takes to a published port, from another container by the host's address: its first packet is looked up
// among all ports, and no other is.
func (b bench) firstPacket(ctx context.Context) (rows []Row, err error) {
	var beds [2]*bed
	for i, c := range []Case{{Published: 10}, {Published: 50_000}} {
		c.Plugin, c.Ports = publishing(), 1
		suite := b.ours
		suite.name = fmt.Sprintf("packet%d", i)
		bed, err := openBed(ctx, entrant{suite, c}, b.scratch, 2)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, bed.close()) }()
		beds[i] = bed
		server, err := bed.attachServer(ctx)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, server.Close()) }()
	}
	row := Row{Case: firstCase, Verb: "TCP", Unit: "µs", Goal: atMost(1.1)}
	for range max(b.rounds, 10) {
		for i, bed := range beds {
			took, err := bed.connect(200)
			if err != nil {
				return nil, err
			}
			if i == 0 {
				row.Reference = append(row.Reference, took)
			} else {
				row.Ours = append(row.Ours, took)
			}
		}
	}
	row.Ratio = row.Ours.median() / row.Reference.median()
	return []Row{row}, nil
}

// attachServer attaches a container that publishes a port, and one that does not, and answers at the port.
func (b *bed) attachServer(ctx context.Context) (io.Closer, error) {
	for range 2 {
		if _, err := b.do(ctx, add, b.take(1)[0]); err != nil {
			return nil, err
		}
		b.Ports = 0
	}
	var listener net.Listener
	err := b.all[len(b.all)-2].ns.Do(func() (err error) {
		listener, err = net.Listen("tcp4", fmt.Sprintf(":%d", firstPort))
		return err
	})
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	return listener, nil
}

// connect is the median of some connections, in microseconds.
func (b *bed) connect(n int) (float64, error) {
	var took Samples
	err := b.all[len(b.all)-1].ns.Do(func() error {
		for range n {
			from := time.Now()
			c, err := net.DialTimeout("tcp4", fmt.Sprintf("192.0.2.2:%d", firstPort), time.Second)
			if err != nil {
				return err
			}
			took = append(took, float64(time.Since(from).Nanoseconds())/1000)
			_ = c.Close()
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return took.median(), nil
}
