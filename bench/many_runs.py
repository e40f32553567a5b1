#!/usr/bin/env python3
"""many_runs.py VFLBUS [RUNS]: trainings one after another, then all at once on the same three members.

Each has a seed and a learning rate of its own. Prints whether every model is that of the run alone, bit
for bit, and CPU seconds of all processes, together and alone. Bars: the same; at most 1.2 times.
"""
import hashlib
import os
import subprocess
import sys
import tempfile
import time

B = os.path.abspath(sys.argv[1])
N = int(sys.argv[2]) if len(sys.argv) > 2 else 16
temporary = tempfile.TemporaryDirectory()
D = temporary.name
os.chdir(D)
env={k:v for k,v in os.environ.items() if not k.startswith('VFLBUS')}
subprocess.run([B,'data','synth','--task','logistic','--out','data','--members','3','--rows','10000','-q'],check=True,env=env)
priv='[bus]\nrendezvous_timeout = 120\ncommit_interval = 10\n'
files=sorted(os.listdir('data')); 
tabs=[f for f in files if f.endswith('.csv') and f!='bank.csv']
for p,t in [('master','bank.csv')]+[('member-%d'%i,t) for i,t in enumerate(tabs[:3])]:
    priv+='[party.%s]\nid = "customer_id"\ndata = "data/%s"\n'%(p,t)
    if p=='master': priv+='label = "default"\n'
open('members.toml','w').write(priv)
open('run.toml','w').write('[run]\nseed = 1\nworld_size = 3\n[model]\ntask = "logistic"\nepochs = 40\nbatch_size = 128\nlearning_rate = 0.1\n'+priv)
def cpu(p):
    f=open('/proc/%d/stat'%p).read().rsplit(')',1)[1].split(); return (int(f[11])+int(f[12]))/os.sysconf('SC_CLK_TCK')
def bus(tag):
    ps=[subprocess.Popen([B,'broker','--bind','ipc://'+D+'/'+tag,'-q'],stdout=subprocess.DEVNULL,stderr=subprocess.DEVNULL,env=env)]
    for r in range(3): ps.append(subprocess.Popen([B,'actor','--role','member','--rank',str(r),'--broker','ipc://'+D+'/'+tag,'--config','members.toml','--set','output.runs_dir='+D+'/runs-'+tag,'-q'],stderr=subprocess.DEVNULL,env=env))
    time.sleep(1); return ps
def master(tag,i):
    return subprocess.Popen([B,'actor','--role','master','--name','master-%d'%i,'--broker','ipc://'+D+'/'+tag,'--config','run.toml','--run-id','%032x'%(i+1),'--set','run.seed=%d'%(i+1),'--set','model.learning_rate=%g'%(0.05+0.01*i),'--set','output.runs_dir='+D+'/runs-'+tag,'-q'],stdout=subprocess.DEVNULL,env=env)
def models(tag):
    out={}
    for i in range(N):
        d=D+'/runs-'+tag+'/%032x'%(i+1)
        out[i]={p:hashlib.sha256(open(d+'/'+p+'/model.json','rb').read()).hexdigest() for p in ('master','member-0','member-1','member-2')}
    return out
res={}
for tag,together in (('alone',False),('together',True)):
    ps=bus(tag); c0=sum(cpu(p.pid) for p in ps); r0=os.times().children_user+os.times().children_system; t0=time.time()
    ms=[]; codes=[]
    for i in range(N):
        m=master(tag,i)
        if together: ms.append(m)
        else: codes.append(m.wait())
    for m in ms: codes.append(m.wait())
    t1=time.time(); c1=sum(cpu(p.pid) for p in ps); r1=os.times().children_user+os.times().children_system
    res[tag]=dict(wall=t1-t0,cpu_servers=c1-c0,cpu_masters=r1-r0,cpu=c1-c0+r1-r0,codes=sorted(set(codes)))
    for p in ps: p.terminate()
    for p in ps: p.wait()
    print(tag,res[tag],flush=True)
print('same models',models('alone')==models('together'),'distinct',len({m['master'] for m in models('alone').values()}))
print('cpu ratio',res['together']['cpu']/res['alone']['cpu'])
