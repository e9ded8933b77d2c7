package main
import ("context";"fmt";"os";"strings";"sync/atomic";"time";"syscall"
"github.com/faena-dev/faena";"github.com/faena-dev/faena/engine/embedded")
type P struct{Text string `json:"text"`;At int64 `json:"at"`}
func cpu() time.Duration{var r syscall.Rusage;syscall.Getrusage(0,&r);return time.Duration(r.Utime.Nano()+r.Stime.Nano())}
func main(){
ctx:=context.Background()
for round:=0;round<4;round++{
d,_:=os.MkdirTemp("/var/tmp","zz");defer os.RemoveAll(d)
en,err:=embedded.Open(ctx,embedded.Options{Dir:d,Durability:embedded.Strict}); if err!=nil{panic(err)}
n,err:=faena.Open(ctx,en,faena.Options{Slots:64}); if err!=nil{panic(err)}
task:=faena.Define[P,P]("echo")
N:=100000
ins:=make([]P,N);for i:=range ins{ins[i]=P{strings.Repeat("x",70)+fmt.Sprint(i),int64(i)}}
if _,err:=task.Batch(ctx,n,ins);err!=nil{panic(err)}
time.Sleep(time.Second)
var first,last,cnt atomic.Int64
t0:=time.Now(); c0:=cpu()
done:=make(chan struct{})
go func(){var pr,pi int64; pc:=c0;for{select{case <-done:return;case <-time.After(20*time.Millisecond):}
 c:=cnt.Load();cs,_:=n.Counts(ctx);var ix int64;for _,x:=range cs{if x.State==faena.Succeeded{ix+=x.N}}
 k:=cpu()
 if round==3{fmt.Printf("%4dms exec +%d ix +%d cpu %v\n",time.Since(t0).Milliseconds(),c-pr,ix-pi,(k-pc).Round(time.Millisecond))};pr=c;pi=ix;pc=k}}()
if err:=n.Handle(task.With(func(ctx context.Context,p P)(P,error){x:=int64(time.Since(t0));if first.Load()==0{first.CompareAndSwap(0,x)};if cnt.Add(1)==int64(N){last.Store(x)};return p,nil}));err!=nil{panic(err)}
th:=time.Since(t0)
for{cs,_:=n.Counts(ctx);var ix int64;for _,x:=range cs{if x.State==faena.Succeeded{ix+=x.N}};if ix>=int64(N){break};time.Sleep(2*time.Millisecond)}
tt:=time.Since(t0);close(done)
fmt.Println("handle",th,"first",time.Duration(first.Load()),"last",time.Duration(last.Load()),"all",tt,"cpu/run",(cpu()-c0)/time.Duration(N),"rate",float64(N)/tt.Seconds())
n.Close();en.Close();os.RemoveAll(d)
}}
