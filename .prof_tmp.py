import sys; sys.path.insert(0,"tests/unit")
import conftest,tempfile,numpy as np, hashlib
from pathlib import Path
from neuroleon.common.window import Window
from neuroleon.common.montage import electrode_positions
from neuroleon.decoding.pipeline import NeuroleonPipeline
from neuroleon.decoding.sampling import Sampling
f=Path(tempfile.mkdtemp())/"m"; conftest.write_model(f)
names=("Cz","O1","O2","Oz","Fp1")
rng=np.random.default_rng(0)
x=(10*rng.standard_normal((5,200))).astype(np.float32)
ref=None
for k in range(6):
    p=NeuroleonPipeline.load(f)
    w=Window(x.copy(),names,electrode_positions(names),10.)
    out=[r.ids for r in p.run("eeg2both",eeg=w,n=3,settings=Sampling(top_p=0.9,guidance=3.0))]
    n=len(p._prompt(__import__("neuroleon.tokenizers.tasks",fromlist=["x"]).TASKS["eeg2both"],{"eeg":w},None))
    if ref is None: ref=out
    print(n,[ (len(a),len(b),None if len(a)==len(b) and (a==b).all() else int(np.argmax(a[:min(len(a),len(b))]!=b[:min(len(a),len(b))]))) for a,b in zip(ref,out)])
    junk=[np.zeros(np.random.randint(1,100000)) for _ in range(50)]
