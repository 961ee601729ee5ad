package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestChoosePorts: what the flags leave open is chosen among what is free, and never twice.
func TestChoosePorts(t *testing.T) {
	local := [2]uint16{40000, 40002}
	taken := func(_ uint8, port uint16) bool { return port == 8000 || port == 40001 }
	for _, test := range []struct {
		name  string
		flags portFlags
		want  string
	}{
		{"as given", portFlags{publish: []string{"8000:80", "127.0.0.1:90-91:90-91/udp"}}, "8000->80/tcp 127.0.0.1:90-91->90-91/udp"},
		{"the first of a range that is free", portFlags{publish: []string{"8000-8009:80", "8000-8009:81"}}, "8001->80/tcp 8002->81/tcp"},
		{"no port that another flag names", portFlags{publish: []string{"8001:1", "8000-8002:80"}}, "8001->1/tcp 8002->80/tcp"},
		{"no range left", portFlags{publish: []string{"8000-8001:1", "8000-8001:2"}},
			"--publish 8000-8001:2: none of the host's ports 8000 to 8001 is free: choose others"},
		{"none left of the host's", portFlags{publish: []string{"1-3"}}, "--publish 1-3: none of the host's ports 40000 to 40002 is free: choose others"},
		{"exposed alone", portFlags{expose: []string{"80", "90-99/udp"}}, ""},
		{"several ports to fewer", portFlags{publish: []string{"80-82:80-81"}},
			"--publish: port 80-82:80-81: the host's range has 3 ports and the container's 2: give as many"},
		{"a word", portFlags{publish: []string{"web"}}, `--publish: port web: "web" is none: give 1 to 65535, or two with '-' between them, the lower first`},
		{"exposed with the host's", portFlags{expose: []string{"80:80"}}, "--expose 80:80: give CONTAINER[/PROTOCOL], such as 80 or 8000-8009/udp"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, chosen(test.flags, local, taken)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	for range 100 { // at random
		got := chosen(portFlags{publish: []string{"127.0.0.1::80"}, expose: []string{"90/udp"}, all: true}, local, taken)
		first, second, _ := strings.Cut(got, " ")
		if first != "127.0.0.1:40000->80/tcp" && first != "127.0.0.1:40002->80/tcp" || second != "40000->90/udp" && second != "40002->90/udp" {
			t.Fatalf("got %s", got)
		}
	}
}

// chosen is the ports that flags come to, or the error.
func chosen(flags portFlags, local [2]uint16, taken func(uint8, uint16) bool) string {
	offers, err := flags.offers(local)
	if err != nil {
		return err.Error()
	}
	list, err := choose(offers, taken)
	if err != nil {
		return err.Error()
	}
	var texts []string
	for _, p := range list {
		texts = append(texts, p.String())
	}
	return strings.Join(texts, " ")
}
