"""The vocabulary of the rest of a report: headings, history, technique, anatomy, devices, closings, typing errors."""

from __future__ import annotations

EXAMINATIONS = {
    "PA": (
        "{CHEST (PA AND LAT)|CHEST (PA AND LAT)|CHEST (PA)|CHEST (PA AND LATERAL)|Chest radiograph}",
        "CHEST RADIOGRAPHS",
        "{Chest: Frontal and lateral views|DX CHEST PA AND LAT}",
    ),
    "AP": (
        "CHEST (PORTABLE AP)",
        "{PORTABLE CHEST RADIOGRAPH|DX CHEST PORT LINE/TUBE PLCMT 1 EXAM}",
        "Chest radiograph, portable AP {|upright|semi-upright} view",
    ),
}
TECHNIQUES = {
    "PA": (
        "Chest {PA and lateral|PA|PA and lateral views}",
        "{Frontal|PA} and lateral views of the chest{ were obtained|}",
        "PA and lateral {views|radiographs} of the chest",
        "Single {PA|frontal} view of the chest",
        "Upright PA {view|radiograph} of the chest",
    ),
    "AP": (
        "Portable {AP|frontal} {view|radiograph} of the chest",
        "Single {portable |}AP {upright |}{view|radiograph} of the chest",
        "Portable semi-erect AP chest film",
    ),
}

PEOPLE = {
    "F": (
        "{___ year old woman|___-year-old woman|___ year old female|___F|___ yo F|Woman|___-year-old female patient}",
    ),
    "M": ("{___ year old man|___-year-old man|___ year old male|___M|___ yo M|Man|___-year-old male patient}",),
}
COMPLAINTS = (
    "{cough|productive cough|nonproductive cough}",
    "{shortness of breath|dyspnea|dyspnea on exertion|SOB|increasing dyspnea}",
    "{chest pain|pleuritic chest pain|atypical chest pain|CP}",
    "{fever|fevers and chills|fever and cough}",
    "{hypoxia|low O2 saturation|new oxygen requirement|tachypnea}",
    "{altered mental status|confusion|weakness|malaise|syncope}",
    "{history of CHF|history of congestive heart failure|known heart failure|weight gain and leg swelling}",
    "{recent fall|trauma|status post fall|MVC}",
    "{status post CABG|s/p thoracentesis|status post chest tube removal|s/p pigtail placement|s/p VATS}",
    "{COPD|asthma|COPD exacerbation|wheezing}",
    "{metastatic disease|lung cancer|lymphoma on chemotherapy|___ cancer}",
    "{preoperative evaluation|pre-op|positive PPD|pre-transplant workup}",
    "{abdominal pain|cirrhosis|new onset ascites|ESRD on HD|leukocytosis}",
)
QUESTIONS = (
    "{evaluate|eval|please evaluate|assess} for {pneumonia|acute process|interval change|edema|effusion|pneumothorax}",
    "{r/o|rule out} {pneumonia|PNA|infiltrate|CHF|ptx|effusion|pneumothorax}",
    "{? pneumonia|? effusion|? acute process|?pulmonary edema|?PTX}",
    "{any evidence of|question} {pneumonia|volume overload|consolidation|acute cardiopulmonary process}",
    "{interval change|interval change?|acute process?|assess interval change}",
    "{acute cardiopulmonary disease|infection|fluid overload}",
)
HISTORIES = (
    "<who> with <complaint>{, <question>|; <question>|  // <question>|  // <question>|}",
    "<who> with <complaint> and <complaint2>{, <question>|; <question>|  // <question>|}",
    "<complaint>{, <question>|; <question>|}",
    "<who>, <complaint>",
)

COMPARISONS_FIRST = (
    "None",
    "None",
    "None available",
    "{No prior|No previous} {studies|examinations|radiographs}{ available| available for comparison|}",
    "None.  ",
)
COMPARISONS_LATER = (
    "{Chest radiograph|Chest radiographs|Radiograph|Prior chest radiograph|Chest x-ray}{ dated| from|,| of|} ___",
    "___",
    "___",
    "{Multiple prior|Prior} {studies|chest radiographs}, most recent{ly|} ___",
    "{Chest CT ___ and radiograph ___|Comparison is made with ___}",
    "___ at ___",
)

CLEAR_IMPRESSIONS = (
    "no acute {cardiopulmonary|intrathoracic|cardiothoracic} {process|abnormality|disease|findings}",
    "no acute cardiopulmonary {process|abnormality}",
    "no {evidence of|radiographic evidence of|radiographic evidence for} acute {cardiopulmonary|intrathoracic} "
    "{process|disease|abnormality}",
    "normal {chest radiograph|chest|chest radiographs|radiographic examination of the chest}",
    "{unremarkable|normal} chest {radiograph|x-ray|radiographs}",
    "{clear lungs|lungs are clear}, {no acute process|no acute findings}",
    "no acute {findings|process|disease} in the chest",
)
NO_CHANGE = (
    "no {significant|relevant|interval} change {since|from|compared to} <prior>",
    "{stable|unchanged} {appearance of the chest|chest radiograph|examination}",
    "as compared to <prior>, there is no relevant change",
)

LUNG_VOLUMES = (
    "lung volumes are {low|slightly low|normal|preserved}",
    "{the lungs are|lungs are} {well inflated|adequately inflated|mildly hyperinflated|hyperexpanded}",
    "the inspiratory lung volumes are {appropriate|reduced}",
)
CLEAR_LUNGS = (
    "{the lungs are|lungs are|both lungs are} {clear|grossly clear|clear bilaterally}",
    "lungs are {otherwise clear|clear}",
)
MEDIASTINUM = (
    "{the |}mediastinal {and hilar |}contours are {normal|unremarkable|within normal limits}",
    "{the |}hilar {contours|structures} are {normal|unremarkable}",
    "the aorta is {tortuous|mildly tortuous|calcified|unfolded}",
    "{atherosclerotic calcifications are noted at the aortic knob|the aortic knob is calcified}",
    "{the |}mediastinal silhouette {and hilar contours are|is} {normal|unremarkable}",
    "{the |}cardiomediastinal contours are {normal|unremarkable}",
)
BONES = (
    "{imaged |the visualized |}osseous structures are {intact|unremarkable|grossly unremarkable}",
    "no acute osseous {abnormality|abnormalities}{ is seen| identified|}",
    "{mild |}degenerative changes {are seen in|of|are noted along} the thoracic spine",
    "{no free air below the diaphragm is seen|there is no free air under the diaphragm|no subdiaphragmatic free air}",
    "the upper abdomen is {unremarkable|within normal limits}",
    "the bones are {diffusely demineralized|intact|grossly intact}",
    "{surgical clips project over the upper abdomen|cholecystectomy clips are noted}",
)

DEVICE_STATEMENTS = {
    "pacemaker": (
        "{a |}{dual-lead|single-lead|dual-chamber} {pacemaker|pacer|pacing device} is {in place|in situ|noted|seen}",
        "pacemaker {leads|wires} {end|terminate} in {expected|standard} {position|positions}",
        "{cardiac |}pacing device {is in place|is seen|with leads in expected position}",
    ),
    "tube": (
        "{the |an |}endotracheal tube {tip |}{terminates|ends|is} ___ cm above the carina",
        "{an |}ET tube {is in standard position|is in appropriate position|in place}",
        "endotracheal tube in {standard|satisfactory|expected} position",
    ),
    "wires": (
        "{median |}sternotomy wires are {intact|in place|intact and aligned|noted}",
        "{the patient is |}status post median sternotomy with intact wires",
        "midline sternal wires are {intact|aligned}",
    ),
}

CLOSINGS = (
    "NOTIFICATION:  {The findings were|Findings were|Results were} {discussed with|communicated to|conveyed to} "
    "Dr. ___ {by Dr. ___ |}{by phone|by telephone|in person|via telephone} {on ___ |}at ___{ PM|AM|, ___ minutes "
    "after discovery|}.",
    "RECOMMENDATION(S):  {Follow-up radiographs are recommended|Repeat radiograph in ___ weeks|Clinical correlation is "
    "advised|Short-term follow-up is suggested}.",
    "ADDENDUM:  {The report was reviewed with Dr. ___|Comparison is now made with prior studies of ___|Findings "
    "were entered into the online dashboard at ___}.",
)

WET_READS = (
    "{See full report|Preliminary read, see final report}",
    "{Discussed with ED team|Findings discussed with Dr. ___} at ___",
)

TYPOS = {
    "radiograph": ("radiogaph", "radiograp"),
    "radiographs": ("radiogrpahs",),
    "significant": ("signficant", "significnat"),
    "identified": ("identifed", "idenitfied"),
    "within": ("wihtin", "withn"),
    "demonstrated": ("demonstarted",),
    "demonstrates": ("demonstartes",),
    "mediastinal": ("mediatinal", "mediastnal"),
    "contours": ("contous", "countours"),
    "osseous": ("oseous",),
    "structures": ("strucutres",),
    "comparison": ("comparision",),
    "compared": ("comapred",),
    "previous": ("previuos",),
    "examination": ("examinaton",),
    "patient": ("pateint",),
    "degenerative": ("degnerative",),
    "there": ("ther", "threre"),
    "the": ("teh", "the the"),
    "with": ("wiht",),
    "since": ("snice",),
    "seen": ("seeen",),
    "chest": ("chset",),
    "acute": ("acutee",),
    "thoracic": ("thoraic",),
    "visualized": ("visualised", "visualzied"),
    "evaluate": ("evalute",),
}
"""Slips of typing and dictation, in words that carry neither finding, side, severity, change nor negation."""
