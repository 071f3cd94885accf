// Package child runs parts of a program as processes of their own, all out of
// one binary: [Start] executes the running binary anew, and [RunIf], called
// first thing in main or TestMain, turns that copy into the part it was started
// for. Nothing has to be built or installed for it.
//
// A child never outlives its parent. Its standard input is a pipe that only the
// parent holds: when the parent ends, however it ends, the pipe does too, and
// the child leaves. On Linux the kernel also kills the child, which reaches one
// that is suspended and cannot read.
package child

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// nameEnv holds the name of the child that a process is. The config is its
// second argument, where the process list shows it.
const nameEnv = "STEELYARD_CHILD"

// endTimeout is how long a child may take to leave when it was told to.
const endTimeout = 10 * time.Second

// message is one line from the child to the parent: that it is ready, or the
// answer to a command.
type message struct {
	Note  string `json:"note,omitempty"`
	Error string `json:"error,omitempty"`
}

// Env is what a child knows of its parent.
type Env struct {
	// Config is the JSON of the config handed to [Start].
	Config []byte
	// Commands are what the parent says through [Process.Do], in order. The
	// child answers each with [Command.Answer] before it takes the next. The
	// channel is closed when the parent wants the child to leave, or is gone.
	Commands <-chan Command

	out *json.Encoder
}

// Ready tells the parent that the child is at work, which ends [Start]. The
// note, such as the address that the child listens on, becomes
// [Process.Note]. A child calls it once, before it answers any command.
func (e *Env) Ready(note string) {
	// A failed write means that the parent is gone: standard input says so too.
	_ = e.out.Encode(message{Note: note})
}

// Command is one line from the parent.
type Command struct {
	Text string
	env  *Env
}

// Answer ends the command at the parent: [Process.Do] returns err's text.
func (c Command) Answer(err error) {
	var m message
	if err != nil {
		m.Error = err.Error()
	}
	_ = c.env.out.Encode(m)
}

// RunIf runs main and exits if this process was started by [Start] under that
// name; otherwise it returns at once. The context ends when the parent wants
// the child to leave, or is gone, or at SIGTERM. An interrupt is ignored: Ctrl-C
// reaches the whole process group, and it is the parent that decides what it means.
//
// What main prints goes to standard error; its error ends up in the error of
// the parent's call.
func RunIf(name string, main func(ctx context.Context, env *Env) error) {
	if os.Getenv(nameEnv) != name || len(os.Args) != 3 {
		return
	}
	_ = os.Unsetenv(nameEnv) // whatever the child starts is no such child

	signal.Ignore(os.Interrupt)
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	out := os.Stdout
	os.Stdout = os.Stderr // a stray print must not be taken for a message

	commands := make(chan Command)
	env := &Env{Config: []byte(os.Args[2]), Commands: commands, out: json.NewEncoder(out)}
	go func() {
		defer cancel()
		defer close(commands)
		env.read(ctx, os.Stdin, commands)
	}()
	context.AfterFunc(ctx, func() {
		time.AfterFunc(endTimeout, func() {
			fmt.Fprintf(os.Stderr, "%s: still running %v after it was told to end\n", name, endTimeout)
			os.Exit(1)
		})
	})

	if err := main(ctx, env); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// read hands on the parent's lines until there are no more.
func (e *Env) read(ctx context.Context, in io.Reader, commands chan<- Command) {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		select {
		case commands <- Command{Text: lines.Text(), env: e}:
		case <-ctx.Done():
			return
		}
	}
}
