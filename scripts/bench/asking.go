package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/nameport"
	"github.com/fairway-cni/fairway/pkg/names"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// dial opens a socket to a container's resolver within it.
func (c container) dial() (conn net.Conn, err error) {
	server := c.server
	if !server.IsValid() {
		server = netip.AddrPortFrom(nameport.Addr, nameport.Port)
	}
	err = c.ns.Do(func() error {
		conn, err = net.Dial("udp", server.String())
		return err
	})
	return conn, err
}

// queryFor asks for a container's address by its ID.
func queryFor(c container) ([]byte, error) {
	return new(dns.Msg).SetQuestion(names.ShortID(c.id)+".", dns.TypeA).Pack()
}

// exchange asks once, and says whether an address came.
func exchange(conn net.Conn, query []byte, patience time.Duration) (bool, error) {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return false, err
	}
	if _, err := conn.Write(query); err != nil {
		return false, err
	}
	answer := make([]byte, 4096)
	n, err := conn.Read(answer)
	if err != nil {
		return false, err
	}
	const answers = 6 // of the header
	return n > answers+1 && answer[answers+1] > 0, nil
}

// ask has two clients in each container ask for its own address for a time, without a pause or at a pace of all together.
func ask(containers []container, pace int, span time.Duration) (count int, latencies []time.Duration, err error) {
	const clients = 2
	var mu sync.Mutex
	var wg sync.WaitGroup
	var errs []error
	end := time.Now().Add(span)
	for _, c := range containers {
		for range clients {
			wg.Go(func() {
				own, err := askUntil(c, end, pace/len(containers)/clients)
				mu.Lock()
				defer mu.Unlock()
				count, latencies, errs = count+len(own), append(latencies, own...), append(errs, err)
			})
		}
	}
	wg.Wait()
	return count, latencies, errors.Join(errs...)
}

// askUntil asks at a pace; one that fell behind catches up, so that what waits is counted.
func askUntil(c container, end time.Time, pace int) (latencies []time.Duration, err error) {
	query, err := queryFor(c)
	if err != nil {
		return nil, err
	}
	conn, err := c.dial()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	begun := time.Now()
	for due := begun; due.Before(end) && time.Now().Before(end); {
		if pace > 0 {
			due = begun.Add(time.Duration(len(latencies)) * time.Second / time.Duration(pace))
			time.Sleep(time.Until(due))
		}
		from := time.Now()
		if ok, err := exchange(conn, query, 10*time.Second); err != nil || !ok {
			return latencies, errors.Join(err, fmt.Errorf("%s does not find itself", c.id))
		}
		latencies = append(latencies, time.Since(from))
	}
	return latencies, nil
}

// askOnce asks in a container for others, each once, and counts the answers.
func askOnce(c container, others []container) (answered int, err error) {
	conn, err := c.dial()
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	for _, other := range others {
		query, err := queryFor(other)
		if err != nil {
			return answered, err
		}
		if ok, _ := exchange(conn, query, 10*time.Second); ok {
			answered++
		}
	}
	return answered, nil
}

// askEach asks in each container until it has an answer, and says when the last one had.
func askEach(containers []container) (last time.Time, err error) {
	const patience, limit = 20 * time.Millisecond, 60 * time.Second
	for _, c := range containers {
		query, err := queryFor(c)
		if err != nil {
			return last, err
		}
		conn, err := c.dial()
		if err != nil {
			return last, err
		}
		for begun := time.Now(); ; time.Sleep(time.Millisecond) {
			if ok, err := exchange(conn, query, patience); err == nil && ok {
				break
			}
			if time.Since(begun) > limit {
				return last, errors.Join(conn.Close(), fmt.Errorf("%s has no answer", c.id))
			}
		}
		last = time.Now()
		conn.Close()
	}
	return last, nil
}

// resolverOf is the process that answers names for a host.
func resolverOf(host *testnet.Namespace) (pid int, err error) {
	own, err := kernel.NamespaceAt(host.Path)
	if err != nil {
		return 0, err
	}
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0, err
	}
	for _, path := range all {
		text, _ := os.ReadFile(path) // it may have ended
		dir := filepath.Dir(path)
		if strings.HasSuffix(string(text), "fairwayd\x00--names-only\x00") && own.At(filepath.Join(dir, "ns/net")) {
			return strconv.Atoi(filepath.Base(dir))
		}
	}
	return 0, errors.New("no resolver runs: is fairwayd beside the plugins?")
}

// usage is what a process has in memory and open.
func usage(pid int) (mib float64, descriptors int, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmRSS:" {
			kib, err := strconv.Atoi(fields[1])
			if err != nil {
				return 0, 0, err
			}
			mib = float64(kib) / 1024
		}
	}
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return mib, len(open), err
}

// processorTime is how long a process has been running, on all processors together (proc_pid_stat(5), fields 14 and 15).
func processorTime(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	const user, system, first, tick = 14, 15, 3, 10 * time.Millisecond // USER_HZ is 100
	if len(fields) <= system-first {
		return 0, fmt.Errorf("/proc/%d/stat: %d fields after the name", pid, len(fields))
	}
	var ticks int
	for _, field := range []int{user, system} {
		n, err := strconv.Atoi(fields[field-first])
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}
