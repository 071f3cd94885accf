//go:build unix

package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/steelyard-go/steelyard/lab/localetcd"
)

// mainEnv turns the test binary into the command: the tests run the code that
// was built with them, race detector and all.
const mainEnv = "STEELYARD_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(mainEnv) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// command is a running steelyard, in a process group and with a directory for
// temporary files of its own.
type command struct {
	t      *testing.T
	cmd    *exec.Cmd
	tmp    string
	stdout *watched
	stderr bytes.Buffer
}

func startCommand(t *testing.T, args ...string) *command {
	t.Helper()
	c := &command{t: t, tmp: t.TempDir(), stdout: &watched{grown: make(chan struct{}, 1)}}
	c.cmd = exec.Command(os.Args[0], args...)
	// Under the race detector a process would else sleep for a second before it ends.
	c.cmd.Env = append(os.Environ(), mainEnv+"=1", "TMPDIR="+c.tmp, "GORACE=atexit_sleep_ms=0")
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.cmd.Stdout, c.cmd.Stderr = c.stdout, &c.stderr
	require.NoError(t, c.cmd.Start())
	return c
}

// waitFor returns once the command has printed the text.
func (c *command) waitFor(text string) {
	c.t.Helper()
	timeout := time.After(60 * time.Second)
	for !strings.Contains(c.stdout.String(), text) {
		select {
		case <-c.stdout.grown:
		case <-timeout:
			c.interrupt()
			c.t.Fatalf("%q was not printed in a minute:\n%s", text, c.stdout)
		}
	}
}

// interrupt does what Ctrl-C in a terminal does: the signal goes to the whole group.
func (c *command) interrupt() {
	require.NoError(c.t, syscall.Kill(-c.cmd.Process.Pid, syscall.SIGINT))
}

// requireEnd waits for the command, its exit status, and that nothing of it is left.
func (c *command) requireEnd(status int) {
	c.t.Helper()
	_ = c.cmd.Wait()
	require.Equal(c.t, status, c.cmd.ProcessState.ExitCode(), "%s\n%s", c.stdout, &c.stderr)
	require.ErrorIs(c.t, syscall.Kill(-c.cmd.Process.Pid, 0), syscall.ESRCH, "a process is left")
	files, err := os.ReadDir(c.tmp)
	require.NoError(c.t, err)
	require.Empty(c.t, files)
}

func TestDemo_AllComesOutAsPromisedAndNothingIsLeft(t *testing.T) {
	c := startCommand(t, "demo", "--calls", "400", "--seed", "7")
	c.requireEnd(0)
	out := c.stdout.String()
	for _, text := range []string{
		"steelyard_round_robin", "steelyard_weighted", "steelyard_p2c", "steelyard_consistent_hash",
		"south-1 changes its weight from 1 to 8", "etcd is back", "All came out as promised",
	} {
		require.Contains(t, out, text)
	}
	require.NotContains(t, out, "NO")
	require.Empty(t, c.stderr.String())
}

func TestDemo_InterruptLeavesNothing(t *testing.T) {
	for name, text := range map[string]string{
		"while it starts": "Starting",
		"in the story":    "north-2 drains",
	} {
		t.Run(name, func(t *testing.T) {
			c := startCommand(t, "demo", "--calls", "400")
			c.waitFor(text)
			c.interrupt()
			c.requireEnd(interrupted)
			require.Contains(t, c.stderr.String(), "interrupted")
		})
	}
}

func TestDemo_EndsWhenNobodyReads(t *testing.T) {
	c := startCommand(t, "demo", "--calls", "400")
	c.waitFor("Starting")
	c.stdout.leave()
	c.requireEnd(1)
	require.Contains(t, c.stderr.String(), "output: ")
}

func TestDemo_UsersEtcdKeepsWhatIsTheirs(t *testing.T) {
	etcd := localetcd.Start(t)
	for _, key := range []string{"demo/theirs", "steelyard-demo", "theirs"} {
		_, err := etcd.Client().Put(t.Context(), key, "127.0.0.1:1")
		require.NoError(t, err)
	}
	c := startCommand(t, "demo", "--calls", "400", "--policy", "p2c", "--policy", "steelyard_consistent_hash", "--etcd", etcd.Addr())
	c.requireEnd(0)
	require.Contains(t, c.stdout.String(), "skipped: this etcd is yours")
	require.NotContains(t, c.stdout.String(), "steelyard_weighted")

	left, err := etcd.Client().Get(t.Context(), "", clientv3.WithPrefix())
	require.NoError(t, err)
	require.EqualValues(t, 3, left.Count)
}

func TestDemo_RefusesWhatItCannotShow(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"policy":  {[]string{"--policy", "random"}, `policy: got "random", want one of round_robin, weighted, p2c, consistent_hash`},
		"calls":   {[]string{"--calls", "5"}, "calls: got 5, want 400 to 20000"},
		"address": {[]string{"--etcd", "localhost"}, `etcd: got "localhost", want host:port such as 127.0.0.1:2379`},
		"no etcd": {[]string{"--etcd", "127.0.0.1:1"}, "etcd: no etcd answers at 127.0.0.1:1"},
		"word":    {[]string{"please"}, `unknown command "please"`},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := root()
			cmd.SetArgs(append([]string{"demo"}, tc.args...))
			cmd.SetOut(io.Discard)
			require.ErrorContains(t, cmd.ExecuteContext(t.Context()), tc.want)
		})
	}
}

func TestDemo_HelpTeaches(t *testing.T) {
	cmd := root()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"demo", "--help"})
	require.NoError(t, cmd.Execute())
	for _, text := range []string{"etcd is killed and restarted", "--policy name", "--calls number", "--seed number", "--etcd host:port", "exit status"} {
		require.Contains(t, out.String(), text)
	}
}

// watched is output that can be waited for.
type watched struct {
	mu    sync.Mutex
	text  bytes.Buffer
	grown chan struct{}
	left  bool
}

// leave has the pipe closed with the next write.
func (w *watched) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left = true
}

func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.left {
		return 0, io.ErrClosedPipe
	}
	select {
	case w.grown <- struct{}{}:
	default:
	}
	return w.text.Write(b)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}
