// Command gozero publishes and subscribes by go-zero's discov on the etcd at the address of its argument. It reads
// commands: "publish VALUE" and "stop VALUE". It prints the sorted values that its subscriber sees, a line whenever
// they change.
package main

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/zeromicro/go-zero/core/discov"
	"github.com/zeromicro/go-zero/core/logx"
)

const service = "orders.rpc"

func main() {
	logx.Disable()
	endpoints := os.Args[1:]
	subscriber, err := discov.NewSubscriber(endpoints, service)
	if err != nil {
		fmt.Println("subscribe:", err)
		return
	}
	var mu sync.Mutex
	var last string
	show := func() {
		mu.Lock()
		defer mu.Unlock()
		values := subscriber.Values()
		slices.Sort(values)
		if line := strings.Join(slices.Compact(values), " "); line != last {
			last = line
			fmt.Println(line)
		}
	}
	subscriber.AddListener(show)

	publishers := map[string]*discov.Publisher{}
	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() {
		command, value, _ := strings.Cut(commands.Text(), " ")
		switch command {
		case "publish":
			publishers[value] = discov.NewPublisher(endpoints, service, value)
			if err := publishers[value].KeepAlive(); err != nil {
				fmt.Println("publish:", err)
			}
		case "stop":
			publishers[value].Stop()
		}
	}
}
