package attach

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/netconf"
	"github.com/fairway-cni/fairway/pkg/state/ports"
)

// portsIn is what a configuration asks for, by single ports; or the error.
func portsIn(text []byte) (string, error) {
	var asked Asked
	if err := Decode(text, &asked); err != nil {
		return "", err
	}
	list, err := readPorts("", nil, asked.RuntimeConfig.PortMappings)
	return fmt.Sprint(ports.Singles(list)), err
}

// wantSame expects that a text asks for the same ports when its rows are joined, and fails alike.
func wantSame(t *testing.T, text []byte) {
	t.Helper()
	joined := netconf.JoinRows(text)
	if json.Valid(text) != json.Valid(joined) {
		t.Fatalf("%q becomes %q", text, joined)
	}
	want, before := portsIn(text)
	got, after := portsIn(joined)
	if (before == nil) != (after == nil) || before == nil && want != got {
		t.Fatalf("%q asks for %s (%v), joined %q for %s (%v)", text, want, before, joined, got, after)
	}
}

// TestJoinRows: a range is one entry, whatever stands around it.
func TestJoinRows(t *testing.T) {
	var list []string
	for port := 20000; port < 22000; port++ {
		list = append(list, fmt.Sprintf(`{"hostPort":%d,"containerPort":%d,"protocol":"tcp","hostIP":""}`, port, port))
	}
	text := `{"a": {"portMappings": []}, "runtimeConfig": {"mac": "}", "portMappings": [` + strings.Join(list, " ,\n") + ` ]}, "b": [1]}`
	want := `{"a": {"portMappings": []}, "runtimeConfig": {"mac": "}", "portMappings": [` +
		`{"hostPort":20000,"containerPort":20000,"protocol":"tcp","hostIP":"","more":1999}]}, "b": [1]}`
	if diff := cmp.Diff(want, string(netconf.JoinRows([]byte(text)))); diff != "" {
		t.Errorf("joined (-want +got):\n%s", diff)
	}
	wantSame(t, []byte(text))
}

// TestJoinedRowsAskForTheSame: mappings by chance, of which some go on from each other, some are twice, and some are no ports at all.
func TestJoinedRowsAskForTheSame(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	one := func(of ...string) string { return of[random.IntN(len(of))] }
	for range 300 {
		var list []string
		for len(list) < 100 {
			port, to := 1000+random.IntN(100), 0
			if random.IntN(4) == 0 {
				to = random.IntN(3)
			}
			rest := one("", `,"protocol":"udp"`, `,"protocol":"TCP"`, `,"hostIP":"127.0.0.1"`, ` , "hostIP" : "0.0.0.0" `, `,"publishFrom":["10.0.0.0/8"]`, `,"heldBy":[7]`,
				`,"note":{"x":["}",2]}`)
			for i := range 1 + random.IntN(30) {
				list = append(list, fmt.Sprintf(`{"hostPort":%d,"containerPort":%d%s}`, port+i, port+i+to, rest))
			}
			if random.IntN(40) == 0 {
				list = append(list, one(`{"hostPort":-1}`, `{}`, `null`, `{"hostPort":1e3,"containerPort":1}`, `{"HostPort":5,"ContainerPort":6}`, `{"hostPort":"1"}`, `7`))
			}
		}
		wantSame(t, []byte(`{"runtimeConfig":{"portMappings":[`+strings.Join(list, one(",", ", ", " ,\n"))+`]}}`))
	}
}

func FuzzJoinRows(f *testing.F) {
	f.Add(`{"hostPort":1,"containerPort":1},{"hostPort":2,"containerPort":2},`)
	f.Add(`{"hostPort":1,"containerPort":1,}]}`)
	f.Add(`{"hostPort":01,"containerPort":1,"\u0068ostPort":2}`)
	f.Fuzz(func(t *testing.T, some string) {
		wantSame(t, []byte(`{"runtimeConfig":{"portMappings":[`+some+`]}}`))
	})
}
