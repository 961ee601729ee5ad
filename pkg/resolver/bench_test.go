package resolver

import (
	"strconv"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// BenchmarkAnswers measures whole answers over UDP, asked from four containers by two clients each.
func BenchmarkAnswers(b *testing.B) {
	h := newHost(b)
	var all []container
	for _, name := range []string{"a", "b", "c", "d"} {
		all = append(all, h.attach("lamp", name, addrs("10.1.0.2")))
	}
	wire, err := query("a", dns.TypeA).Pack()
	if err != nil {
		b.Fatal(err)
	}
	const clients = 8
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range clients {
		conn, err := all[i%len(all)].dial("udp")
		if err != nil {
			b.Fatal(err)
		}
		wg.Go(func() {
			defer conn.Close()
			buffer := make([]byte, 512)
			for range b.N / clients {
				if _, err := conn.Write(wire); err != nil {
					b.Error(err)
				}
				if _, err := conn.Read(buffer); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "answers/s")
}

// BenchmarkRestart measures from the start of a resolver until it answers in all namespaces that have a record.
func BenchmarkRestart(b *testing.B) {
	const containers = 200
	h := newHost(b)
	for i := range containers {
		h.attach("lamp", strconv.Itoa(i), addrs("10.1.0.2"))
	}
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		h.end()
		b.StartTimer()
		h.start(Config{})
	}
	b.ReportMetric(b.Elapsed().Seconds()*1e6/float64(b.N)/containers, "µs/container")
}
